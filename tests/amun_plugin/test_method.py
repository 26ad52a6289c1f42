"""AMUN: what it learns from, with and without the retain set, by each of its attacks."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from amun_plugin import AttackIncomplete, Closest, Pgd
from amun_plugin.method import AmunConfig, amun, examples, mixture, unlearning_methods
from harness import Data, Recipe, predict, train

ATTACKS = ("pgd", "pgd-origin", "closest")
CLASSES = 3


def network():
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(288, 3)
    )


@pytest.fixture(scope="module")
def trained():
    torch.manual_seed(0)
    labels = torch.arange(60) % CLASSES
    images = torch.randint(0, 90, (60, 1, 6, 6), dtype=torch.uint8)
    for label in range(CLASSES):
        images[labels == label, :, 2 * label : 2 * label + 2] += 120
    data = Data.of(images, labels)
    generator = torch.Generator().manual_seed(0)
    return train(network(), data, Recipe(8, 0.05, batch=20), generator=generator), data


@pytest.fixture
def task(task, trained):
    model, data = trained
    copy = network()
    copy.load_state_dict(model.state_dict())
    return replace(
        task,
        model=copy.eval(),
        retain=data.select(torch.arange(20, 60)),
        forget=data.select(torch.arange(20)),
        untrained=network,
    )


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_example_is_near_its_image_and_has_the_wrong_label_the_model_gives_it(task, attack):
    found = examples(task, AmunConfig(attack=attack))

    assert torch.equal(predict(task.model, found).argmax(1), found.labels)
    assert (found.labels != task.forget.labels).all()
    away = found.images - task.forget.images.float() / 255
    assert 0 < away.flatten(1).norm(dim=1).max() < 3


@pytest.mark.parametrize("attack", ATTACKS)
def test_examples_are_exact_floats_that_are_never_augmented_and_know_their_image(task, attack):
    found = examples(task, AmunConfig(attack=attack))

    assert found.images.dtype == torch.float32
    assert not torch.equal(found.images, (found.images * 255).round() / 255)
    assert not found.augment.any()
    assert torch.equal(found.index, task.forget.index)


def test_a_sample_that_the_model_gets_wrong_is_its_own_example(task):
    wrong = (task.forget.labels + 1) % CLASSES
    task = replace(task, forget=task.forget.relabel(wrong))

    found = examples(task, AmunConfig())

    right = predict(task.model, task.forget).argmax(1) != wrong
    clean = task.forget.images.float() / 255
    assert right.any()
    assert torch.equal(found.images[right], clean[right])


def test_without_any_example_there_is_nothing_to_learn(task):
    with torch.no_grad():
        task.model[4].weight.zero_()
        task.model[4].bias.copy_(torch.tensor([9.0, 0.0, 0.0]))
    task = replace(task, forget=task.forget.relabel(torch.zeros_like(task.forget.labels)))

    with pytest.raises(AttackIncomplete, match="20 of 20"):
        amun(task, AmunConfig())


@pytest.mark.parametrize(
    ("name", "rows"), [("R+A", 40 + 20), ("R+F+A", 40 + 20 + 20), ("F+A", 20 + 20), ("A", 20)]
)
def test_a_mixture_holds_each_of_its_parts_once(task, name, rows):
    data = mixture(task, AmunConfig(mixture=name))

    by_image = torch.bincount(data.index, minlength=60)
    assert len(data) == rows
    assert by_image[:20].unique().tolist() == [name.count("F") + name.count("A")]
    assert by_image[20:].unique().tolist() == [name.count("R")]


@pytest.mark.parametrize(("name", "rows"), [("F+A", 40), ("A", 20)])
def test_without_the_retain_set_the_other_mixture_counts(task, name, rows):
    task = replace(task, retain=task.retain.select(torch.arange(0)))

    data = mixture(task, AmunConfig(mixture_without_retain=name))

    assert len(data) == rows


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("name", ["R+F+A", "R+A", "F+A", "A"])
def test_every_mixture_lowers_the_models_confidence_in_the_forget_sets_labels(task, attack, name):
    def confidence(model):
        logits = predict(model, task.forget)
        return logits.softmax(1).gather(1, task.forget.labels[:, None]).mean().item()

    before = confidence(task.model)

    after = confidence(amun(task, AmunConfig(mixture=name, attack=attack, epochs=2, lr=0.01)))

    assert after < before


def test_an_attack_has_the_settings_of_its_own_kind():
    assert AmunConfig(attack="pgd", eps_init=0.1).attack_settings() == Pgd(eps_init=0.1)
    assert AmunConfig(attack="pgd-origin", steps=7).attack_settings() == Pgd(
        steps=7, restart="origin"
    )
    assert AmunConfig(attack="closest", closest_steps=20).attack_settings() == Closest(steps=20)


@pytest.mark.parametrize(
    ("odd", "told"),
    [
        ({"lr": -1.0}, "lr must not be negative; got -1"),
        ({"epochs": -1}, "epochs must not be negative; got -1"),
        ({"eps_init": 0.0}, "eps_init must be above 0"),
        ({"steps": 0}, "steps must be at least 1"),
        ({"closest_steps": 0}, "steps must be at least 1"),
    ],
)
def test_settings_out_of_range_are_refused_whatever_the_attack(odd, told):
    with pytest.raises(ValueError, match=told):
        AmunConfig(**odd)


def test_the_attack_of_the_authors_code_has_a_row_of_its_own():
    rows = {method.name: method.config.attack_settings() for method in unlearning_methods()}

    assert rows == {"amun": Closest(), "amun-pgd": Pgd(), "amun-paper": Pgd()}


def test_without_retain_data_it_takes_the_epochs_and_the_rate_for_that(task):
    nothing = replace(task, retain=task.retain.select(torch.arange(0)))
    config = AmunConfig(epochs=1, lr=0.5, epochs_without_retain=3, lr_without_retain=0.001)

    assert config.course(task) == (1, 0.5)
    assert config.course(nothing) == (3, 0.001)
    before = int(task.model[1].num_batches_tracked)

    model = amun(nothing, config)

    found = len(mixture(nothing, config))
    assert int(model[1].num_batches_tracked) - before == 3 * -(-found // 10)
