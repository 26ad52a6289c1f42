"""Local Teacher: the neighbours, the small teacher and its soft labels."""

import copy
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F
from torch.optim import AdamW
from update_rules import assert_same_weights, batch_of, pixels, state

from baselines.local_teacher import (
    LocalTeacherConfig,
    adamw,
    features,
    largest,
    local_teacher,
    mixture_loss,
    nearest,
    support_size,
    taught,
    untaught,
)
from harness import Recipe, join

CLASSES = 4


@pytest.fixture
def task(plain_task):
    return plain_task


def teacher_of(kind="cnn", seed=0):
    return untaught(kind, 1, CLASSES, torch.Generator().manual_seed(seed))


def test_the_features_are_what_the_classifier_reads(task):
    found, logits = features(task.model, task.forget)

    torch.testing.assert_close(task.model[4](found), logits)
    assert not task.model[4]._forward_pre_hooks


def test_the_support_is_nearest_by_angle_to_the_mean_forget_embedding():
    forget = torch.tensor([[3.0, 0.0], [0.0, 3.0]])
    retain = torch.tensor([[9.0, 0.0], [1.0, 1.1], [0.1, 5.0], [-1.0, 0.0], [0.3, 0.2]])

    assert nearest(forget, retain, 1).tolist() == [1]
    assert nearest(forget, retain, 2).tolist() == [1, 4]


@pytest.mark.parametrize(("retained", "size"), [(49750, 1000), (1294, 259), (7, 2), (1, 1)])
def test_the_support_is_the_published_thousand_but_a_fifth_of_a_small_retain_set(retained, size):
    assert support_size(LocalTeacherConfig(), retained) == size


@pytest.mark.parametrize("kind", ["cnn", "resnet8"])
def test_a_teacher_depends_on_its_stream_alone(kind):
    first, second = (state(teacher_of(kind, seed=3)) for _ in range(2))

    assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_resnet8_of_the_paper_has_its_number_of_weights():
    network = untaught("resnet8", 3, 100, torch.Generator())

    blocks = 2 * 16 * 16 * 9, 3 * 16 * 32 * 9, 3 * 32 * 64 * 9  # of each, the convolutions of 3 px
    shortcuts = 16 * 32, 32 * 64
    norms = 2 * (3 + 3 * 16 + 3 * 32 + 3 * 64)
    expected = 3 * 16 * 9 + sum(blocks) + sum(shortcuts) + norms + 64 * 100 + 100
    assert sum(weight.numel() for weight in network.parameters()) == expected


def test_the_teacher_takes_plain_steps_with_momentum_and_decay(task):
    rows = task.retain.select(torch.arange(24))
    found = taught(teacher_of(), rows, task, LocalTeacherConfig(teacher_epochs=3))
    twin = teacher_of().train()
    speed = [torch.zeros_like(weight) for weight in twin.parameters()]

    for _ in range(3):
        loss = F.cross_entropy(twin(pixels(rows)), rows.labels)
        gradients = torch.autograd.grad(loss, list(twin.parameters()))
        for weight, step, gradient in zip(twin.parameters(), speed, gradients, strict=True):
            step.mul_(0.9).add_(gradient + 1e-4 * weight.detach())
            weight.data -= 0.2 * step

    for weight, expected in zip(found.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(weight, expected, atol=1e-4, rtol=1e-3)
    assert not found.training


@pytest.mark.parametrize("kind", ["cnn", "resnet8"])
def test_the_teacher_stops_once_it_knows_its_rows(task, kind):
    same = task.retain.relabel(torch.zeros(40, dtype=torch.int64))

    model = taught(teacher_of(kind), same, task, LocalTeacherConfig(teacher_epochs=250))

    assert 1 <= model[2].num_batches_tracked <= 10


def test_a_target_is_the_three_largest_probabilities_renormalised():
    chances = torch.tensor([[0.1, 0.4, 0.2, 0.3], [0.0, 0.0, 0.0, 1.0]])

    torch.testing.assert_close(
        largest(chances), torch.tensor([[0, 4 / 9, 2 / 9, 3 / 9], [0, 0, 0, 1.0]])
    )
    torch.testing.assert_close(largest(chances[:, 2:]), torch.tensor([[0.4, 0.6], [0.0, 1.0]]))


def test_forget_rows_have_the_teachers_answers_to_the_batch_and_twice_the_weight(task):
    data = join(task.retain, task.forget)
    distorted = batch_of(replace(data, images=data.images.flip(3)))
    teacher = teacher_of().eval()
    model = copy.deepcopy(task.model).eval()

    loss = mixture_loss(model, teacher, distorted, torch.arange(52) >= 40, 2.0)

    logits = model(distorted.images)
    soft = teacher(distorted.images[40:]).softmax(1)
    soft = torch.where(soft == soft.min(1, keepdim=True).values, 0, soft)  # of four, three remain
    soft = soft / soft.sum(1, keepdim=True)
    kept = F.cross_entropy(logits[:40], data.labels[:40], reduction="sum")
    forgotten = -(soft * logits[40:].log_softmax(1)).sum()
    torch.testing.assert_close(loss, (kept + 2 * forgotten) / 52)
    loss.backward()
    assert all(weight.grad is None for weight in teacher.parameters())


def test_a_batch_without_forget_rows_is_plain_cross_entropy(task):
    batch = batch_of(task.retain)
    nobody = torch.zeros(40, dtype=torch.bool)

    loss = mixture_loss(task.model, teacher_of(), batch, nobody, 2.0)

    expected = F.cross_entropy(task.model(batch.images), batch.labels)
    torch.testing.assert_close(loss, expected)


def test_the_original_takes_steps_of_adamw_on_the_mixture(task):
    recipe = Recipe(10, 0.1, batch=64, momentum=0.8, nesterov=True)  # none of them matters
    task = replace(task, scenario=replace(task.scenario, recipe=recipe))
    config = LocalTeacherConfig(2, 0.01, weight_decay=0.3, teacher_epochs=0)
    teacher = teacher_of().eval()
    data = join(task.retain, task.forget)
    twin = copy.deepcopy(task.model).train()
    optimizer = AdamW(twin.parameters(), lr=0.01, weight_decay=0.3)
    for _ in range(2):
        optimizer.zero_grad()
        mixture_loss(twin, teacher, batch_of(data), torch.arange(52) >= 40, 2.0).backward()
        optimizer.step()

    found = local_teacher(task, config)

    head = found[4], twin[4]  # the convolution's bias has no gradient under a BatchNorm
    torch.testing.assert_close(head[0].weight, head[1].weight, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(head[0].bias, head[1].bias, atol=1e-3, rtol=1e-3)


def test_the_recipes_batch_and_augmentation_stay_and_its_schedule_does_not():
    recipe = Recipe(40, 0.1, batch=32, schedule="step", step_size=10, nesterov=True)

    found = adamw(recipe, LocalTeacherConfig(epochs=20, lr=1e-4))

    assert found == Recipe(
        20, 1e-4, batch=32, weight_decay=1e-6, schedule="constant", optimizer="adamw"
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"support": 0}, "support must be at least 1"),
        ({"support_share": 0.0}, "support_share must be in"),
        ({"teacher": "vit"}, "teacher must be one of"),
    ],
)
def test_a_setting_out_of_range_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        LocalTeacherConfig(**settings)


def test_no_epochs_change_nothing(task):
    before = [weight.detach().clone() for weight in task.model.parameters()]

    assert_same_weights(local_teacher(task, LocalTeacherConfig(0, teacher_epochs=1)), before)
