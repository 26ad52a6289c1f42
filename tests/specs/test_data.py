"""Data sets as tensors: selecting and joining rows, equal batches, and augmentation."""

import numpy as np
import pytest
import torch

from harness import Augmentation, Data, as_float, join
from harness.specs.augmentation import CROP_PADDING
from harness.specs.data import Distortions, equal_batches

BOTH = Augmentation(crop=True, flip=True)


def numbered(n=6, *, exact=False, shape=(3, 5, 4), augment=True, first=0):
    """Random images; row i has label 10 i and index 100 i."""
    generator = torch.Generator().manual_seed(first)
    images = torch.randint(0, 256, (n, *shape), generator=generator, dtype=torch.uint8)
    rows = torch.arange(first, first + n)
    chosen = torch.full((n,), augment)
    return Data(images / 255 if exact else images, 10 * rows, 100 * rows, chosen)


def crop_and_flip(image, down, right, mirror):
    """A simple reference for one image: add a black border, crop, flip."""
    height, width = image.shape[1:]
    border = np.pad(image, ((0, 0), (CROP_PADDING,) * 2, (CROP_PADDING,) * 2))
    top, left = CROP_PADDING - down, CROP_PADDING - right
    crop = border[:, top : top + height, left : left + width]
    return crop[:, :, ::-1] if mirror else crop


def test_fresh_rows_are_numbered_from_zero():
    images = torch.zeros(3, 1, 2, 2, dtype=torch.uint8)

    data = Data.of(images, torch.tensor([5, 6, 7]), augment=False)

    assert data.index.tolist() == [0, 1, 2]
    assert data.augment.tolist() == [False] * 3
    assert (len(data), data.shape) == (3, (1, 2, 2))


@pytest.mark.parametrize(
    "rows",
    [torch.tensor([4, 0, 0]), torch.tensor([], dtype=torch.int64), torch.tensor([True, False] * 3)],
    ids=["positions", "none", "mask"],
)
def test_a_selection_keeps_every_column(rows):
    data = join(numbered(3), numbered(3, first=3, augment=False))
    positions = rows.nonzero()[:, 0].tolist() if rows.dtype == torch.bool else rows.tolist()

    chosen = data.select(rows)

    assert len(chosen) == len(positions)
    for place, row in enumerate(positions):
        assert torch.equal(chosen.images[place], data.images[row])
        assert chosen.labels[place] == 10 * row
        assert chosen.index[place] == 100 * row
        assert chosen.augment[place] == (row < 3)


def test_a_selection_of_a_selection_still_knows_the_original_rows():
    data = numbered().select(torch.tensor([5, 3, 1])).select(torch.tensor([2, 0]))

    assert data.index.tolist() == [100, 500]
    assert data.labels.tolist() == [10, 50]


def test_a_join_keeps_the_order_and_every_column():
    first, second = numbered(2), numbered(3, first=2, augment=False)

    data = join(first, second)

    assert data.images.dtype == torch.uint8
    assert torch.equal(data.images, torch.cat([first.images, second.images]))
    assert data.labels.tolist() == [0, 10, 20, 30, 40]
    assert data.index.tolist() == [0, 100, 200, 300, 400]
    assert data.augment.tolist() == [True, True, False, False, False]


def test_a_join_is_float_if_any_part_is_and_rounds_nothing():
    bytes_, floats = numbered(4), numbered(2, exact=True)
    fine = floats.images + torch.rand(floats.images.shape) * 1e-4  # between two of the 256 levels
    floats = Data.of(fine.clamp(0, 1), floats.labels)

    data = join(bytes_, floats)

    assert data.images.dtype == torch.float32
    assert torch.equal(data.images[4:], floats.images)
    expected = bytes_.images.numpy().astype(np.float64) / 255
    np.testing.assert_allclose(data.images[:4].numpy(), expected, rtol=0, atol=6e-8)
    assert torch.equal((data.images[:4] * 255).round().byte(), bytes_.images)


def test_class_names_are_kept_by_selections_and_joins():
    images = torch.zeros(4, 1, 2, 2, dtype=torch.uint8)
    data = Data.of(images, torch.arange(4) % 2, classes=["cat", "dog"])
    other = Data.of(images, torch.arange(4) % 2, classes=("cat", "emu"))

    kept = (data.select(torch.tensor([1])), data.to("cpu"), data.relabel(data.labels))

    assert [part.classes for part in kept] == [("cat", "dog")] * 3
    assert join(data, data.select(torch.tensor([0]))).classes == ("cat", "dog")
    assert join(data, other).classes == ()


@pytest.mark.parametrize("classes", ["cat", ("cat", "cat"), ("cat", 3), ("cat", ""), (None,)])
def test_class_names_must_be_distinct_strings(classes):
    images = torch.zeros(1, 1, 2, 2)

    with pytest.raises(ValueError, match=r"classes must be distinct names.*got"):
        Data.of(images, torch.tensor([0]), classes=classes)


@pytest.mark.parametrize("kind", [torch.uint8, torch.int8, torch.int16, torch.int32])
def test_labels_of_any_integer_type_become_int64(kind):
    data = Data.of(torch.zeros(3, 1, 2, 2), torch.tensor([0, 2, 1], dtype=kind))

    assert data.labels.dtype == torch.int64
    assert data.labels.tolist() == [0, 2, 1]


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((2, 1, 4, 4)), torch.zeros(2).long(), "images must be a dense torch.*ndarray"),
        ([[0]], torch.zeros(2).long(), "images must be a dense torch tensor; got list"),
        (torch.tensor(1.0), torch.zeros(1).long(), r"images must be \(n, c, h, w\)"),
        (torch.zeros(2, 4, 4), torch.zeros(2).long(), r"got \(2, 4, 4\), torch.float32"),
        (torch.zeros(2, 1, 4, 4).long(), torch.zeros(2).long(), "uint8 or float32.*int64"),
        (torch.zeros(2, 1, 4, 4), [0, 1], "labels must be a dense torch tensor; got list"),
        (torch.zeros(2, 1, 4, 4), np.zeros(2), "labels must be a dense torch tensor; got ndarray"),
        (torch.zeros(2, 1, 4, 4), torch.zeros(2, dtype=torch.bool), "int64; got .*torch.bool"),
        (torch.zeros(2, 1, 4, 4), torch.zeros(2), "int64; got .*torch.float32"),
        (torch.zeros(2, 1, 4, 4), torch.zeros(2, 3).long(), r"\(2,\) int64; got \(2, 3\)"),
        (torch.zeros(2, 1, 4, 4), torch.zeros(3).long(), r"\(2,\) int64; got \(3,\)"),
        (torch.zeros(2, 1, 4, 4), torch.zeros(2).long().to_sparse(), "labels must be a dense"),
    ],
)
def test_an_invalid_set_of_images_is_rejected_with_what_was_found(images, labels, message):
    with pytest.raises(ValueError, match=message):
        Data.of(images, labels)


def test_relabelling_leaves_the_rest_unchanged():
    data = numbered()
    labels = torch.ones(6, dtype=torch.int64)

    other = data.relabel(labels)

    assert torch.equal(other.labels, labels)
    assert torch.equal(data.labels, 10 * torch.arange(6))
    assert other.images is data.images
    assert torch.equal(other.index, data.index)


def test_every_column_moves_to_the_other_device():
    moved = numbered().to("meta")

    assert moved.device == torch.device("meta")
    columns = (moved.images, moved.labels, moved.index, moved.augment)
    assert {column.device.type for column in columns} == {"meta"}
    assert [column.dtype for column in columns] == [
        torch.uint8,
        torch.int64,
        torch.int64,
        torch.bool,
    ]


def test_bytes_become_floats_in_zero_to_one_and_floats_stay_the_same_tensor():
    levels = torch.arange(256, dtype=torch.uint8)
    floats = torch.rand(3)

    np.testing.assert_allclose(as_float(levels).numpy(), np.arange(256) / 255, rtol=1e-7)
    assert as_float(levels)[255] == 1
    assert as_float(floats) is floats


FAULTS = {
    "three dimensions": ({"images": torch.zeros(2, 4, 4)}, r"\(n, c, h, w\).*got \(2, 4, 4\)"),
    "double images": (
        {"images": torch.zeros(2, 1, 4, 4, dtype=torch.float64)},
        r"uint8 or float32 in \[0, 1\].*torch\.float64",
    ),
    "too few labels": (
        {"labels": torch.zeros(1, dtype=torch.int64)},
        r"labels must be \(2,\) int64; got \(1,\)",
    ),
    "float labels": ({"labels": torch.zeros(2)}, r"labels must be .* got \(2,\), torch\.float32"),
    "short index": ({"index": torch.zeros(2, dtype=torch.int32)}, r"index must be .*torch\.int32"),
    "too much augment": (
        {"augment": torch.ones(3, dtype=torch.bool)},
        r"augment must be \(2,\) bool; got \(3,\)",
    ),
    "numbers as augment": (
        {"augment": torch.ones(2)},
        r"augment must be \(2,\) bool; got \(2,\), torch\.float32",
    ),
    "another device": (
        {"labels": torch.zeros(2, dtype=torch.int64, device="meta")},
        r"labels must be on cpu, like the images; got meta",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_column_that_does_not_fit_is_named_with_what_was_found(fault):
    columns = {
        "images": torch.zeros(2, 1, 4, 4),
        "labels": torch.zeros(2, dtype=torch.int64),
        "index": torch.zeros(2, dtype=torch.int64),
        "augment": torch.ones(2, dtype=torch.bool),
    }
    changed, message = FAULTS[fault]

    with pytest.raises(ValueError, match=message):
        Data(**{**columns, **changed})


def test_images_of_two_shapes_cannot_be_joined():
    with pytest.raises(ValueError, match=r"\[\(1, 4, 4\), \(3, 5, 4\)\]"):
        join(numbered(), numbered(shape=(1, 4, 4)))


@pytest.mark.parametrize("n", [0, 1, 63, 64, 65, 100, 897, 1000])
@pytest.mark.parametrize("batch", [1, 7, 64, 2000])
def test_batches_cover_every_row_once_and_differ_by_at_most_one(n, batch):
    slices = equal_batches(n, batch)

    sizes = [part.stop - part.start for part in slices]
    assert [row for part in slices for row in range(n)[part]] == list(range(n))
    assert len(slices) == -(-n // batch)
    assert max(sizes, default=0) <= batch
    assert max(sizes, default=0) - min(sizes, default=0) <= 1


@pytest.mark.parametrize("batch", [0, -3])
def test_a_batch_size_below_one_is_rejected(batch):
    with pytest.raises(ValueError, match=f"batch must be at least 1; got {batch}"):
        equal_batches(10, batch)


@pytest.mark.parametrize("exact", [False, True], ids=["uint8", "float32"])
@pytest.mark.parametrize("form", [torch.contiguous_format, torch.channels_last])
def test_distortions_equal_a_slow_crop_and_flip_of_each_image(exact, form):
    data = numbered(200, exact=exact)
    drawn = Distortions.draw(data.augment, BOTH, torch.Generator().manual_seed(0))
    rows = torch.randperm(200, generator=torch.Generator().manual_seed(1))[:90]

    moved = drawn.apply(data.images[rows].contiguous(memory_format=form), rows)

    assert moved.dtype == data.images.dtype
    for image, row in zip(moved, rows.tolist(), strict=True):
        down, right = drawn.shift[row].tolist()
        mirror = bool(drawn.mirror[row])
        expected = crop_and_flip(data.images[row].numpy(), down, right, mirror)
        np.testing.assert_array_equal(image.numpy(), expected)


def test_a_positive_shift_moves_down_and_right():
    image = torch.zeros(1, 1, 5, 5)
    image[0, 0, 1, 1] = 1
    drawn = Distortions(torch.tensor([[2, 1]]), torch.tensor([False]))

    moved = drawn.apply(image, torch.tensor([0]))

    assert moved.nonzero().tolist() == [[0, 0, 3, 2]]


def test_shifts_and_mirrors_are_uniform_and_independent():
    n = 40_500
    places = 2 * CROP_PADDING + 1

    drawn = Distortions.draw(
        torch.ones(n, dtype=torch.bool), BOTH, torch.Generator().manual_seed(0)
    )

    down, right = (drawn.shift + CROP_PADDING).unbind(1)
    cells = (down * places + right) * 2 + drawn.mirror
    counts = torch.bincount(cells, minlength=2 * places**2)
    expected = n / (2 * places**2)
    chi_square = float(((counts - expected) ** 2 / expected).sum())
    assert chi_square < 222  # the 99.9 % quantile at 161 degrees of freedom


@pytest.mark.parametrize(
    ("kind", "moves", "mirrors"),
    [
        (Augmentation(crop=True), True, False),
        (Augmentation(flip=True), False, True),
        (Augmentation(), False, False),
    ],
)
def test_only_the_requested_distortion_is_drawn(kind, moves, mirrors):
    allowed = torch.ones(50, dtype=torch.bool)

    drawn = Distortions.draw(allowed, kind, torch.Generator().manual_seed(0))

    assert drawn.shift.any() == moves
    assert drawn.mirror.any() == mirrors


def test_a_row_that_must_not_be_augmented_stays_bit_equal():
    free, fixed = numbered(30, exact=True), numbered(30, exact=True, first=30, augment=False)
    data = join(free, fixed)
    drawn = Distortions.draw(data.augment, BOTH, torch.Generator().manual_seed(0))

    moved = drawn.apply(data.images, torch.arange(60))

    assert torch.equal(moved[30:].view(torch.int32), data.images[30:].view(torch.int32))
    assert (moved[:30] != data.images[:30]).flatten(1).any(1).sum() >= 28


def test_a_rows_augment_flag_does_not_change_the_draws_of_other_rows():
    some = torch.tensor([True, False] * 10)

    every = Distortions.draw(torch.ones_like(some), BOTH, torch.Generator().manual_seed(3))
    half = Distortions.draw(some, BOTH, torch.Generator().manual_seed(3))

    assert torch.equal(half.shift[some], every.shift[some])
    assert torch.equal(half.mirror[some], every.mirror[some])
    assert not half.shift[~some].any()
    assert not half.mirror[~some].any()


def test_the_same_seed_draws_the_same_numbers_for_every_augmentation():
    allowed = torch.ones(20, dtype=torch.bool)
    kinds = (BOTH, BOTH, Augmentation(crop=True))

    draws = [Distortions.draw(allowed, kind, torch.Generator().manual_seed(5)) for kind in kinds]
    other = Distortions.draw(allowed, BOTH, torch.Generator().manual_seed(6))

    assert torch.equal(draws[0].shift, draws[1].shift)
    assert torch.equal(draws[0].mirror, draws[1].mirror)
    assert torch.equal(draws[0].shift, draws[2].shift)
    assert not torch.equal(draws[0].shift, other.shift)
