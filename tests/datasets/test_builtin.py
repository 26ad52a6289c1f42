"""Data sets by name: the digits, a plugin's own, rejected data and fingerprints."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import chi2_contingency, chisquare
from sklearn.datasets import load_digits

from harness import Data, Dataset, UserError
from harness.datasets.builtin import (
    channel_statistics,
    fingerprint,
    load_dataset,
    unlearning_datasets,
)
from harness.datasets.vetting import class_count, classes_text

BUILT_IN = {dataset.name: dataset for dataset in unlearning_datasets()}


def loaded(name, root):
    return load_dataset(name, BUILT_IN, root)


def both(parts):
    """Images and labels of train and test together."""
    return torch.cat([part.images for part in parts]), torch.cat([part.labels for part in parts])


def test_the_digits_are_all_of_scikit_learns_digits_enlarged_with_their_labels(tmp_path):
    train, test = loaded("digits", tmp_path)

    bunch = load_digits()
    enlarged = [
        Image.fromarray(image.astype(np.float32)).resize((16, 16), Image.Resampling.BILINEAR)
        for image in bunch.images
    ]
    expected = sorted(
        (np.rint(np.asarray(image, dtype=np.float64) * 255 / 16).astype(np.uint8).tobytes(), label)
        for image, label in zip(enlarged, bunch.target.tolist(), strict=True)
    )
    images, labels = both((train, test))
    found = sorted((i.numpy().tobytes(), int(y)) for i, y in zip(images, labels, strict=True))
    assert (len(train), len(test), train.shape) == (1000, 797, (1, 16, 16))
    assert images.dtype == torch.uint8
    assert found == expected


def test_a_fifth_of_all_labels_is_replaced_by_another_one_drawn_uniformly(tmp_path):
    clean, noisy = loaded("digits", tmp_path), loaded("noisy-digits", tmp_path)

    (images, labels), (same_images, given) = both(clean), both(noisy)
    shift = (given - labels) % 10
    assert torch.equal(images, same_images)
    assert int((shift != 0).sum()) == round(0.2 * 1797)
    assert chisquare(torch.bincount(shift, minlength=10)[1:]).pvalue > 0.001


def test_train_and_test_digits_are_exchangeable_in_classes_and_in_noise(tmp_path):
    clean, noisy = loaded("digits", tmp_path), loaded("noisy-digits", tmp_path)

    classes = [torch.bincount(part.labels).tolist() for part in noisy]
    changed = [(n.labels != c.labels).long() for n, c in zip(noisy, clean, strict=True)]
    noise = [torch.bincount(part).tolist() for part in changed]
    assert chi2_contingency(classes).pvalue > 0.01
    assert chi2_contingency(noise).pvalue > 0.01


def test_the_digits_are_split_in_the_same_way_each_time(tmp_path):
    first = loaded("noisy-digits", tmp_path)
    torch.manual_seed(99)
    again = loaded("noisy-digits", tmp_path)

    assert fingerprint(*first) == fingerprint(*again)


def small(n=4, *, exact=False):
    images = torch.randint(0, 256, (n, 2, 3, 3), generator=torch.Generator().manual_seed(n))
    return Data.of(images / 255 if exact else images.byte(), torch.arange(n))


@pytest.mark.parametrize("exact", [False, True])
def test_channel_statistics_are_numpys_and_a_constant_channel_has_deviation_one(exact):
    data = small(50, exact=exact)
    data.images[:, 1] = 0.3 if exact else 77

    mean, std = channel_statistics(data)

    pixels = data.images[:, 0].numpy().astype(np.float64) / (1 if exact else 255)
    assert mean == pytest.approx([pixels.mean(), 0.3 if exact else 77 / 255])
    assert std == pytest.approx([pixels.std(), 1])


def with_pixel(data):
    images = data.images.clone()
    images[1, 0, 2, 2] ^= 1
    return replace(data, images=images)


CHANGES = {
    "a pixel": with_pixel,
    "a label": lambda data: data.relabel(data.labels.roll(1)),
    "the order": lambda data: data.select(torch.tensor([1, 0, 2, 3])),
    "one row less": lambda data: data.select(torch.arange(3)),
    "the shape": lambda data: replace(data, images=data.images.reshape(4, 2, 9, 1)),
    "the type": lambda data: replace(data, images=data.images.float() / 255),
    "the augmentation": lambda data: replace(data, augment=~data.augment),
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_fingerprint_changes_with_any_change_to_either_set(change):
    train, test = small(), small(5).select(torch.arange(4))
    changed = CHANGES[change]

    prints = {
        fingerprint(train, test),
        fingerprint(changed(train), test),
        fingerprint(train, changed(test)),
        fingerprint(test, train),
    }

    assert len(prints) == 4
    assert all(len(digits) == 20 for digits in prints)


def test_the_fingerprint_does_not_depend_on_the_layout_in_memory():
    train, test = small(), small(5)
    other = replace(train, images=train.images.contiguous(memory_format=torch.channels_last))

    assert fingerprint(other, test) == fingerprint(train, test)


def given(*parts):
    return {"mine": Dataset("mine", lambda _root: parts)}


def test_rows_of_a_plugins_selection_are_numbered_afresh(tmp_path):
    whole = replace(small(9), classes=tuple("abcdefghi"))
    parts = whole.select(torch.tensor([8, 2, 5])), whole.select(torch.tensor([1, 7]))

    train, test = load_dataset("mine", given(*parts), tmp_path)

    assert train.index.tolist() == [0, 1, 2]
    assert test.index.tolist() == [0, 1]
    assert train.labels.tolist() == [8, 2, 5]


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ((small(),), r"'mine': its loader returned \(Data\); expected \(train, test\)"),
        ((small(), small().images), r"its loader returned \(Data, Tensor\); expected"),
        ((small(), small().select(torch.arange(0))), r"4 train images .* 0 test images"),
        (
            (small(), Data.of(torch.zeros(1, 2, 3, 4), torch.zeros(1).long())),
            r"train images of \(2, 3, 3\) and 1 test images of \(2, 3, 4\)",
        ),
        ((small(), small().relabel(torch.arange(-1, 3))), "labels must count from 0"),
        (
            (small(), replace(small(), images=small().images.float())),
            r"float images run from \d+ to 2\d\d in the test set; expected \[0, 1\]",
        ),
        (
            (replace(small(), images=torch.full((4, 2, 3, 3), torch.nan)), small()),
            "4 of 4 train images contain nan or infinity",
        ),
    ],
)
def test_a_loader_that_returns_something_else_is_rejected(parts, message, tmp_path):
    with pytest.raises(UserError, match=message):
        load_dataset("mine", given(*parts), tmp_path)


def labelled(labels, *, n=None, classes=(), dtype=torch.uint8, shape=(1, 3, 3)):
    labels = torch.as_tensor(labels)
    images = torch.zeros(n or len(labels), *shape, dtype=dtype)
    return Data.of(images, labels, classes=classes)


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        ([7, 507, 4507], [7], "its 3 labels are 7, 507, 4507; expected 0 to 2: relabel both sets"),
        ([10**15, 0], [0], r"its 2 labels are 0, 10+; expected 0 to 1"),
        ([1, 2, 3], [1], "its 3 labels are 1 to 3; expected 0 to 2"),
        ([0, 1, 2, 4], [5], "its 5 labels are 0 to 2, 4 to 5; expected 0 to 4"),
        ([0, 1, -1], [0], "its labels are -1 to 1; labels must count from 0"),
        ([0, 1], [-100], "its labels are -100, 0 to 1; labels must count from 0"),
        ([0, 1], [0, 2], "its test set has labels 2 without any train image"),
        ([0, 0], [0], "it has only one class; expected two or more"),
    ],
)
def test_labels_that_do_not_count_from_zero_are_rejected_with_a_remedy(
    train, test, message, tmp_path
):
    with pytest.raises(UserError, match=f"^dataset 'mine': .*{message}") as error:
        load_dataset("mine", given(labelled(train), labelled(test)), tmp_path)

    assert "\n" not in str(error.value)


def test_a_set_that_names_its_classes_may_lack_images_of_some(tmp_path):
    names = ("ant", "bee", "cat", "dog")
    lines = []

    train, test = load_dataset(
        "mine", given(labelled([0, 2, 2], classes=names), labelled([1])), tmp_path, lines.append
    )

    assert train.classes == test.classes == names
    assert class_count(train, test) == 4
    assert lines == [
        (
            "mine: 3 train and 1 test images of 4 classes (ant, bee, cat, dog), 3x3 grey; "
            "no train image of class 1 (bee), class 3 (dog); "
            "no test image of class 0 (ant), class 2 (cat), class 3 (dog)"
        )
    ]


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        (("a", "b"), ("a", "c"), "its train and its test set name different classes"),
        (("a",), (), "its labels are 0 to 1, but it names 1 classes; expected 0 to 0"),
    ],
)
def test_class_names_that_do_not_fit_are_rejected(train, test, message, tmp_path):
    parts = labelled([0, 1], classes=train), labelled([0], classes=test)

    with pytest.raises(UserError, match=message):
        load_dataset("mine", given(*parts), tmp_path)


def test_the_fingerprint_covers_the_number_of_named_classes_but_not_their_names(tmp_path):
    def named(*classes):
        return fingerprint(labelled([0, 1], classes=classes), labelled([0, 1]))

    assert named("a", "b") == named("c", "d") == named()
    assert named("a", "b", "c") == named("d", "e", "f") != named()
    assert len({named(), named(*"abc"), named(*"abcd")}) == 3


IMAGES = {
    "channels last": ((8, 8, 3), r"\(n, 8, 8, 3\), which is 8 channels of 3x8 pixels.*permute"),
    "wide, channels last": ((6, 9, 3), r"\(n, 6, 9, 3\).*permute\(0, 3, 1, 2\)"),
    "grey, channels last": ((28, 28, 1), r"\(n, 28, 28, 1\).*Dataset\(…, channels=28\)"),
    "with alpha, channels last": ((32, 32, 4), r"\(n, 32, 32, 4\)"),
}


@pytest.mark.parametrize("case", IMAGES)
def test_channels_last_images_are_rejected_unless_their_channels_are_declared(case, tmp_path):
    shape, message = IMAGES[case]
    parts = labelled([0, 1], shape=shape), labelled([0, 1], shape=shape)

    with pytest.raises(UserError, match=f"dataset 'mine': its images are .*{message}"):
        load_dataset("mine", given(*parts), tmp_path)
    declared = Dataset("mine", lambda _root: parts, channels=shape[0])
    train, _ = load_dataset("mine", {"mine": declared}, tmp_path)

    assert train.shape == shape


@pytest.mark.parametrize(
    "shape",
    [
        (3, 32, 3),
        (3, 4, 4),
        (1, 28, 28),
        (3, 3, 32),
        (512, 4, 4),
        (13, 64, 64),
        (1, 1, 128),
        (4, 4, 4),
        (2, 200, 1),
        (16, 1, 4),
        (3, 224, 224),
    ],
)
def test_channels_first_images_are_never_mistaken_for_channels_last(shape, tmp_path):
    parts = labelled([0, 1], shape=shape), labelled([0, 1], shape=shape)

    train, _ = load_dataset("mine", given(*parts), tmp_path)

    assert train.shape == shape


def test_channels_that_differ_from_the_declared_ones_are_rejected(tmp_path):
    parts = labelled([0, 1], shape=(1, 8, 8)), labelled([0, 1], shape=(1, 8, 8))
    declared = {"mine": Dataset("mine", lambda _root: parts, channels=3)}

    with pytest.raises(UserError, match="expected the 3 channels that it declares"):
        load_dataset("mine", declared, tmp_path)


def with_value(value, n=4):
    images = torch.full((n, 1, 3, 3), 0.5)
    images[1, 0, 1, 1] = value
    return Data.of(images, torch.arange(n) % 2)


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        (with_value(torch.nan), with_value(0), "1 of 4 train images contain nan or infinity"),
        (with_value(0), with_value(torch.inf), "1 of 4 test images contain nan or infinity"),
        (with_value(-torch.inf), with_value(0), "1 of 4 train images contain nan or infinity"),
        (with_value(1.5), with_value(0), "run from 0.5 to 1.5 in the train set"),
        (with_value(0), with_value(-0.1), "run from -0.1 to 0.5 in the test set"),
        (with_value(255), with_value(0), "run from 0.5 to 255 in the train set"),
        (with_value(0), labelled([0, 1]), "train images are torch.float32 and its test.*uint8"),
        (
            labelled([0], n=1, shape=(1, 0, 3)),
            labelled([0], shape=(1, 0, 3)),
            "expected at least one of each",
        ),
    ],
)
def test_invalid_pixels_are_rejected_with_what_was_found(train, test, message, tmp_path):
    with pytest.raises(UserError, match=f"dataset 'mine': .*{message}"):
        load_dataset("mine", given(train, test), tmp_path)


def test_constant_images_are_accepted(tmp_path):
    black, white = labelled([0, 1]), with_value(0.5)

    for data in (black, white):
        train, _ = load_dataset("mine", given(data, data), tmp_path)
        assert torch.equal(train.images, data.images)


def test_images_of_any_memory_layout_become_dense_without_gradients_or_changes(tmp_path):
    dense = with_value(0.25)
    odd = dense.images.permute(0, 1, 3, 2).contiguous().permute(0, 1, 3, 2)
    expanded = torch.zeros(1, 1, 3, 3).expand(4, 1, 3, 3)
    views = (odd, odd.clone().requires_grad_(), expanded.clone().repeat(2, 1, 1, 1)[::2], expanded)

    for images in views:
        train, _test = load_dataset("mine", given(Data.of(images, dense.labels), dense), tmp_path)
        assert train.images.is_contiguous()
        assert not train.images.requires_grad
        assert torch.equal(train.images, images)


@pytest.mark.parametrize(
    ("load", "message"),
    [
        (lambda root: (root / "nowhere.npy").read_bytes(), "dataset 'mine': .*No such file"),
        (lambda _: labelled([0.5, 1.0]), r"dataset 'mine': labels must be \(2,\) int64"),
        (lambda _: labelled([0, 1], n=3), r"dataset 'mine': labels must be \(3,\) int64"),
        (lambda _: None, r"its loader returned \(NoneType\); expected \(train, test\)"),
        (lambda _: {"train": small(), "test": small()}, r"its loader returned \(dict\)"),
        (lambda _: (small(), small(), small()), r"returned \(Data, Data, Data\)"),
    ],
)
def test_a_loader_that_fails_on_its_files_or_data_gives_a_one_line_error(load, message, tmp_path):
    with pytest.raises(UserError, match=message) as error:
        load_dataset("mine", {"mine": Dataset("mine", load)}, tmp_path)

    assert "\n" not in str(error.value)


def test_a_bug_in_a_loader_gives_one_line_with_its_file_and_line(tmp_path):
    with pytest.raises(UserError) as error:
        load_dataset("mine", {"mine": Dataset("mine", lambda _: 1 / 0)}, tmp_path)

    assert re.fullmatch(
        r"dataset 'mine' of \S*test_builtin.py, line \d+: its loader failed: "
        r"ZeroDivisionError: division by zero",
        str(error.value),
    )


def test_a_loader_that_calls_data_itself_is_shown_data_of(tmp_path):
    images, labels = torch.zeros(2, 1, 4, 4), torch.arange(2)
    load = lambda _: (Data(images, labels), Data(images, labels))  # noqa: E731 - one line

    with pytest.raises(
        UserError, match=r"TypeError: .*; make a set with Data.of\(images, labels\)$"
    ):
        load_dataset("mine", {"mine": Dataset("mine", load)}, tmp_path)


@pytest.mark.parametrize(
    ("classes", "count", "text"),
    [
        ((), 10, "0 to 9"),
        (("0", "1", "2"), 3, "0 to 2"),
        (("cat", "dog"), 2, "cat, dog"),
        (("5", "7"), 2, "0 is '5', 1 is '7'"),
        (("10", "cat"), 2, "0 is '10', 1 is 'cat'"),
        (tuple(f"k{i}" for i in range(100)), 100, "k0, k1, k2, k3, k4, k5, k6, k7, … k99"),
    ],
)
def test_classes_are_listed_in_the_order_of_their_labels(classes, count, text):
    assert classes_text(classes, count) == text


def test_an_unknown_name_gives_the_closest_match_and_mentions_folders(tmp_path):
    with pytest.raises(UserError, match=r"did you mean 'CIFAR10'.*folder:PATH"):
        loaded("cifar-10", tmp_path)
