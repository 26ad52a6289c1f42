"""The update rules of the methods that descend on two sets, distil, or train the last blocks."""

import copy
from dataclasses import replace
from itertools import islice

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from baselines import scrub as scrub_module
from baselines.bad_teacher import BadTeacherConfig, bad_teacher
from baselines.cf_k import cf_k
from baselines.delete import DeleteConfig, delete, without_class
from baselines.eu_k import eu_k
from baselines.local_teacher import (
    LocalTeacherConfig,
    features,
    local_teacher,
    neighbours,
    small_network,
)
from baselines.neggrad_plus import NegGradPlusConfig, neggrad_plus
from baselines.parts.distillation import by_row, divergence
from baselines.parts.last_layers import LastLayersConfig, blocks, last_names
from baselines.parts.streams import endless
from baselines.regun import RegunConfig, regun, same_classes
from baselines.scrub import ScrubConfig, nearest, reference_error, scrub, scrub_rewound, scrubbing
from baselines.unsir import UnsirConfig, noise_images, unsir
from harness import Recipe, UserError, join, predict
from harness.backbones.build import design_backbone

CLASSES = 4


@pytest.fixture
def task(task):
    first = join(task.forget, task.retain)
    recipe = Recipe(10, 0.1, batch=40, momentum=0.0, weight_decay=0.0)
    return replace(
        task,
        model=task.model.eval(),
        forget=first.select(torch.arange(12)),
        held_out=first.select(torch.arange(12, 20)),
        untrained=lambda: task.untrained().eval(),
        scenario=replace(task.scenario, recipe=recipe),
    )


def pixels(data):
    return data.images.float() / 255


def state(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def one_step(model, loss, lr):
    """Plain gradient descent by ``loss(model)``; the parameters after it."""
    model = copy.deepcopy(model).train()
    gradients = torch.autograd.grad(loss(model), list(model.parameters()))
    return [w.detach() - lr * g for w, g in zip(model.parameters(), gradients, strict=True)]


def assert_same_weights(model, expected):
    for weight, value in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(weight.detach(), value, rtol=1e-4, atol=1e-6)


def first_rate(lr):
    """What a training of a single step takes: the one-cycle schedule has one step to spare."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr)
    return torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=2).get_last_lr()[0]


def test_the_divergence_sums_over_classes_and_means_over_rows():
    teacher, student = torch.randn(2, 5, 7, generator=torch.Generator().manual_seed(0)).unbind(0)
    p, q = (teacher / 3).softmax(1), (student / 3).softmax(1)
    rows = [sum(p[i, c] * (p[i, c] / q[i, c]).log() for c in range(7)) for i in range(5)]

    found = divergence(teacher, student, temperature=3.0)

    assert found.item() == pytest.approx(9 * sum(rows).item() / 5, rel=1e-5)


def test_the_divergence_is_not_smaller_where_unlikely_classes_are_added():
    teacher, student = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    wide = [torch.cat([logits, torch.full((1, 98), -50.0)], 1) for logits in (teacher, student)]

    assert divergence(*wide).item() == pytest.approx(divergence(teacher, student).item(), rel=1e-5)


def test_a_target_is_found_by_the_row_of_the_train_set(task):
    values = torch.rand(len(task.retain), 3)

    table = by_row(task.retain, values)

    assert torch.equal(table[task.retain.index], values)


def test_neggrad_plus_descends_the_retain_loss_and_climbs_the_forget_loss(task):
    def loss(model):
        kept = F.cross_entropy(model(pixels(task.retain)), task.retain.labels)
        return 0.7 * kept - 0.3 * F.cross_entropy(model(pixels(task.forget)), task.forget.labels)

    expected = one_step(task.model, loss, first_rate(0.5))

    assert_same_weights(neggrad_plus(task, NegGradPlusConfig(1, 0.5, 0.7)), expected)


def test_the_forget_set_begins_anew_as_often_as_it_ends(task):
    scenario = replace(task.scenario, recipe=replace(task.scenario.recipe, batch=6))

    parts = list(islice(endless(replace(task, scenario=scenario), task.forget), 6))

    seen = torch.cat([part.index for part in parts]).bincount()
    assert seen.tolist() == [3] * 12


def test_scrub_descends_divergence_and_cross_entropy_on_the_retain_set(task):
    teacher = predict(task.model, task.retain)

    def loss(model):
        logits = model(pixels(task.retain))
        p, q = (teacher / 4).softmax(1), (logits / 4).softmax(1)
        apart = 16 * (p * (p.log() - q.log())).sum(1).mean()
        return 0.5 * apart + 0.9 * F.cross_entropy(logits, task.retain.labels)

    expected = one_step(task.model, loss, 0.1)
    config = ScrubConfig(epochs=1, lr=0.1, msteps=0, alpha=0.5, gamma=0.9)

    assert_same_weights(scrub(task, config), expected)


def test_scrub_climbs_the_divergence_on_the_forget_set(task):
    teacher = predict(task.model, task.forget)

    def loss(model):
        p, q = (teacher / 4).softmax(1), (model(pixels(task.forget)) / 4).softmax(1)
        return -16 * (p * (p.log() - q.log())).sum(1).mean()

    expected = one_step(task.model, loss, 0.1)
    config = ScrubConfig(epochs=1, lr=0.1, msteps=1, alpha=0.0, gamma=0.0)

    assert_same_weights(scrub(task, config), expected)


def test_scrub_climbs_once_before_each_of_its_first_descents(task):
    batches_seen = [
        int(model[1].num_batches_tracked) for model in scrubbing(task, ScrubConfig(4, msteps=2))
    ]

    assert batches_seen == [2, 4, 5, 6]


def test_scrubs_learning_rate_falls_to_a_tenth_after_three_five_and_nine_epochs(task, monkeypatch):
    rates = []

    def noted(_task, data, *, lr, **_rest):
        if data is task.retain:
            rates.append(lr)
        return task.model

    monkeypatch.setattr(scrub_module, "fine_tune", noted)

    scrub(task, ScrubConfig(epochs=11, lr=1.0))

    assert rates == pytest.approx([1, 1, 1, 0.1, 0.1, *[0.01] * 4, 0.001, 0.001])


def test_the_reference_error_weighs_classes_as_the_forget_set_does(task):
    forget = task.forget.relabel(torch.tensor([0] * 9 + [1] * 3))
    held_out = task.held_out.relabel(torch.tensor([0, 0, 1, 1, 1, 1, 2, 2]))
    found = predict(task.model, held_out).argmax(1)
    wrong = (found != held_out.labels).float()

    expected = 0.75 * wrong[:2].mean() + 0.25 * wrong[2:6].mean()
    assert reference_error(task.model, forget, held_out) == pytest.approx(expected.item())


def test_a_reference_needs_held_out_data_of_the_classes_in_question(task):
    forget = task.forget.relabel(torch.full((12,), 3))
    held_out = task.held_out.relabel(torch.zeros(8, dtype=torch.int64))

    with pytest.raises(UserError, match="held-out data of the forget set's classes"):
        reference_error(task.model, forget, held_out)


def test_a_rewind_takes_the_nearest_error_and_of_several_the_latest():
    assert nearest([0.1, 0.5, 0.3, 0.9], 0.38) == 2
    assert nearest([0.25, 0.75, 0.25], 0.5) == 2


def test_scrub_r_returns_one_of_scrubs_checkpoints(task):
    config = ScrubConfig(epochs=4, lr=0.3, msteps=3)
    twin = replace(
        task, model=copy.deepcopy(task.model), generator=torch.Generator().manual_seed(0)
    )
    states, errors = [], []
    for model in scrubbing(twin, config):
        states.append(state(model))
        wrong = predict(model, task.forget).argmax(1) != task.forget.labels
        errors.append(wrong.float().mean().item())
    chosen = nearest(errors, reference_error(twin.model, task.forget, task.held_out))

    found = state(scrub_rewound(task, config))

    assert all(torch.equal(found[name], value) for name, value in states[chosen].items())


def test_only_scrub_r_needs_held_out_data():
    needs = {m.name: m.needs_held_out for m in scrub_module.unlearning_methods()}

    assert needs == {"scrub": False, "scrub-r": True}


def test_bad_teacher_learns_each_set_from_its_own_teacher(task):
    bad = task.untrained()
    task = replace(
        task,
        untrained=lambda: bad,
        scenario=replace(task.scenario, recipe=replace(task.scenario.recipe, batch=64)),
    )
    images = torch.cat([pixels(task.retain), pixels(task.forget)])
    teacher = torch.cat([predict(task.model, task.retain), predict(bad, task.forget)]).softmax(1)

    def loss(model):
        return (teacher * (teacher.log() - model(images).log_softmax(1))).sum(1).mean()

    expected = one_step(task.model, loss, first_rate(0.5))

    assert_same_weights(bad_teacher(task, BadTeacherConfig(1, 0.5, retain_share=1.0)), expected)


@pytest.mark.parametrize("method", ["bad-teacher", "unsir"])
def test_a_share_of_the_retain_set_is_drawn_once_and_no_other_row_is_seen(
    task, method, monkeypatch
):
    seen = []

    def noted(_task, data, **_rest):
        seen.append(set(data.index.tolist()) & set(task.retain.index.tolist()))
        return task.model

    monkeypatch.setattr(f"baselines.{method.replace('-', '_')}.fine_tune", noted)

    if method == "bad-teacher":
        bad_teacher(task, BadTeacherConfig(retain_share=0.3))
    else:
        unsir(task, UnsirConfig(retain_share=0.3))

    assert {len(rows) for rows in seen} == {12}  # of 40
    assert all(rows == seen[0] for rows in seen)


def test_delete_gives_the_recorded_class_nothing_and_keeps_the_ratios_of_the_others(task):
    logits = predict(task.model, task.forget)

    found = without_class(logits, task.forget.labels).softmax(1)

    own = F.one_hot(task.forget.labels, CLASSES).bool()
    plain = logits.softmax(1).masked_fill(own, 0.0)
    assert not found[own].any()
    torch.testing.assert_close(found, plain / plain.sum(1, keepdim=True))


def test_delete_descends_the_divergence_to_the_masked_answers(task):
    p = predict(task.model, task.forget).softmax(1).clone()
    p[torch.arange(12), task.forget.labels] = 0
    p /= p.sum(1, keepdim=True)

    def loss(model):
        return -(p * model(pixels(task.forget)).log_softmax(1)).sum(1).mean()

    expected = one_step(task.model, loss, 0.5)

    assert_same_weights(delete(task, DeleteConfig(1, 0.5)), expected)


def test_regun_pulls_a_batch_to_the_mean_answer_on_held_out_data(task):
    task = replace(task, held_out=task.held_out.select(torch.arange(4)))  # one of each class
    q = predict(task.model, task.held_out).softmax(1).mean(0)  # three forget rows of each class

    def loss(model):
        kept = F.cross_entropy(model(pixels(task.retain)), task.retain.labels)
        found = model(pixels(task.forget)).log_softmax(1)
        return 0.3 * (q * (q.log() - found)).sum(1).mean() + 0.6 * kept

    expected = one_step(task.model, loss, first_rate(0.5))

    assert_same_weights(regun(task, RegunConfig(1, 0.5, 0.3, 0.6)), expected)


def test_regun_bears_a_class_that_no_held_out_row_could_have(task):
    with torch.no_grad():
        task.model[4].bias[0] = -1e4

    model = regun(task, RegunConfig(1, 0.01))

    assert all(weight.isfinite().all() for weight in model.parameters())


def test_held_out_rows_are_drawn_from_the_class_of_each_forget_row():
    held_out = torch.tensor([0, 1, 1, 1, 2])
    labels = torch.tensor([0, 1, 2, 3]).repeat(300)

    drawn = same_classes(labels, held_out, torch.Generator().manual_seed(0))

    assert torch.equal(held_out[drawn][labels < 3], labels[labels < 3])
    assert drawn[labels == 1].bincount()[1:].min() > 60
    assert set(drawn[labels == 3].tolist()) == {0, 1, 2, 3, 4}


@pytest.mark.parametrize("method", [cf_k, eu_k])
def test_all_before_the_last_blocks_stays_bit_for_bit_with_its_statistics(task, method):
    before = state(task.model)
    heavy = replace(task.scenario.recipe, momentum=0.9, weight_decay=0.1)
    task = replace(task, scenario=replace(task.scenario, recipe=heavy))

    after = state(method(task, LastLayersConfig(3, 0.1, k=1)))

    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == {"4.weight", "4.bias"}
    assert all(weight.requires_grad for weight in task.model.parameters())


@pytest.mark.parametrize("method", [cf_k, eu_k])
def test_with_k_past_the_last_block_all_is_trained(task, method):
    before = state(task.model)

    after = state(method(task, LastLayersConfig(2, 0.1, k=9)))

    assert not any(torch.equal(before[name], after[name]) for name in before)


def test_cf_k_starts_from_the_original_and_eu_k_from_new_weights(task):
    fresh = task.untrained()
    task = replace(task, untrained=lambda: fresh)
    old = task.model[4].weight.clone()

    kept = cf_k(task, LastLayersConfig(0, k=1))[4].weight.clone()
    renewed = eu_k(task, LastLayersConfig(0, k=1))[4].weight

    assert torch.equal(kept, old)
    assert torch.equal(renewed, fresh[4].weight)
    assert not torch.equal(renewed, old)


@pytest.mark.parametrize(
    ("backbone", "last"),
    [
        ("test_resnet", ["net.layer4.0", "net.fc"]),
        ("test_vit[img_size=16,patch_size=4]", ["net.blocks.5", "net.norm", "net.head"]),
    ],
)
def test_the_last_two_blocks_are_one_block_and_the_classifier(backbone, last):
    design = design_backbone(backbone, {}, shape=(1, 16, 16), classes=CLASSES, stem="own")
    model = design.build([0.5], [0.25])

    assert last_names(model, 2) == last
    weights = {name for name, part in model.named_modules() if list(part.parameters(recurse=False))}
    covered = tuple(name for block in blocks(model) for name in block)
    assert {name for name in weights if not name.startswith(covered)} <= {"net"}


def test_unsirs_noise_raises_the_loss_of_the_class(task):
    task = replace(task, forget=task.forget.relabel(torch.full((12,), 2)))
    nn.init.normal_(task.model[4].weight)  # so steep that the loss outweighs the penalty
    losses = []
    for steps in (0, 40):
        stream = torch.Generator().manual_seed(0)
        noise = noise_images(replace(task, generator=stream), UnsirConfig(noise_steps=steps))
        losses.append(F.cross_entropy(task.model(noise.images), noise.labels).item())
        assert set(noise.labels.tolist()) == {2}

    assert losses[1] > losses[0] + 0.5


def test_the_first_step_on_the_noise_is_adams(task):
    task = replace(task, forget=task.forget.relabel(torch.full((12,), 2)))
    start = torch.randn(40, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    mean, scale = pixels(task.forget).mean(), pixels(task.forget).std()
    noise = start.clone().requires_grad_()
    loss = -F.cross_entropy(task.model(mean + scale * noise), torch.full((40,), 2))
    (gradient,) = torch.autograd.grad(loss + 0.1 * noise.square().sum((1, 2, 3)).mean(), noise)

    found = noise_images(task, UnsirConfig(noise_steps=1, noise_lr=0.1)).images

    clear = gradient.abs() > 1e-5
    expected = mean + scale * (start - 0.1 * gradient.sign())
    torch.testing.assert_close(found[clear], expected[clear], rtol=1e-3, atol=1e-4)


def test_unsir_impairs_by_noise_and_then_repairs_on_the_retain_set(task):
    config = UnsirConfig(noise_share=1.0, retain_share=1.0)

    model = unsir(task, config)

    assert int(model[1].num_batches_tracked) == 2 + 1  # 80 rows and 40 rows, forty a batch
    assert all(weight.grad is None or weight.requires_grad for weight in model.parameters())


def test_the_features_are_what_the_classifier_reads(task):
    found, logits = features(task.model, task.forget)

    torch.testing.assert_close(task.model[4](found), logits)
    assert not task.model[4]._forward_pre_hooks


def test_the_neighbours_are_the_nearest_by_angle():
    forget = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    retain = torch.tensor([[9.0, 1.0], [1.0, 1.1], [0.1, 5.0], [-1.0, 0.0], [3.0, 0.0]])

    assert neighbours(forget, retain, 1).tolist() == [2, 4]
    assert neighbours(forget, retain, 2).tolist() == [0, 1, 2, 4]


def test_the_small_teacher_depends_on_its_stream_alone():
    first, second = (
        state(small_network(1, CLASSES, torch.Generator().manual_seed(3))) for _ in range(2)
    )

    assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_local_teachers_answers_are_the_forget_sets_labels(task):
    recipe = replace(task.scenario.recipe, batch=64)
    task = replace(task, scenario=replace(task.scenario, recipe=recipe))
    teacher = small_network(1, CLASSES, torch.Generator().manual_seed(0)).eval()
    soft = teacher(pixels(task.forget)).softmax(1).detach()

    def loss(model):
        logits = model(torch.cat([pixels(task.retain), pixels(task.forget)]))
        kept = F.cross_entropy(logits[:40], task.retain.labels, reduction="sum")
        return (kept - (soft * logits[40:].log_softmax(1)).sum()) / 52

    expected = one_step(task.model, loss, first_rate(0.5))
    found = local_teacher(task, LocalTeacherConfig(1, 0.5, teacher_epochs=0))

    assert_same_weights(found, expected)
