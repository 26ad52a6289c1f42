"""Data sets by name: the digits, a plugin's own, what is refused and what is fingerprinted."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import chi2_contingency, chisquare
from sklearn.datasets import load_digits

from harness import Data, Dataset, UserError
from harness.datasets import (
    channel_statistics,
    fingerprint,
    load_dataset,
    unlearning_datasets,
)

BUILT_IN = {dataset.name: dataset for dataset in unlearning_datasets()}


def loaded(name, root):
    return load_dataset(name, BUILT_IN, root)


def both(parts):
    """Images and labels of train and test together."""
    return torch.cat([part.images for part in parts]), torch.cat([part.labels for part in parts])


def test_the_digits_are_all_of_scikit_learns_enlarged_with_their_labels(tmp_path):
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


def test_the_digits_are_the_same_draw_each_time(tmp_path):
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
    "a row less": lambda data: data.select(torch.arange(3)),
    "the shape": lambda data: replace(data, images=data.images.reshape(4, 2, 9, 1)),
    "the type": lambda data: replace(data, images=data.images.float() / 255),
    "the augmentation": lambda data: replace(data, augment=~data.augment),
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_fingerprint_tells_any_change_of_either_set(change):
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
    whole = small(9)
    parts = whole.select(torch.tensor([8, 2, 5])), whole.select(torch.tensor([1, 7]))

    train, test = load_dataset("mine", given(*parts), tmp_path)

    assert train.index.tolist() == [0, 1, 2]
    assert test.index.tolist() == [0, 1]
    assert train.labels.tolist() == [8, 2, 5]


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ((small(),), r"'mine': its loader gave \(Data\); expected \(train, test\)"),
        ((small(), small().images), r"its loader gave \(Data, Tensor\); expected"),
        ((small(), small().select(torch.arange(0))), r"4 train images .* 0 test images"),
        (
            (small(), Data.of(torch.zeros(1, 2, 3, 4), torch.zeros(1).long())),
            r"train images of \(2, 3, 3\) and 1 test images of \(2, 3, 4\)",
        ),
        ((small(), small().relabel(torch.arange(-1, 3))), "labels must count from 0"),
        (
            (small(), replace(small(), images=small().images.float())),
            r"float images run from \d+ to 2\d\d; expected \[0, 1\]",
        ),
        (
            (replace(small(), images=torch.full((4, 2, 3, 3), torch.nan)), small()),
            "float images run from nan",
        ),
    ],
)
def test_a_loader_that_gives_something_else_is_told(parts, message, tmp_path):
    with pytest.raises(UserError, match=message):
        load_dataset("mine", given(*parts), tmp_path)


def test_an_unknown_name_is_told_with_the_nearest_and_the_way_to_a_folder(tmp_path):
    with pytest.raises(UserError, match=r"did you mean 'CIFAR10'.*folder:PATH"):
        loaded("cifar-10", tmp_path)
