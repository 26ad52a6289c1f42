"""The batches of the training loop: every row once an epoch, distorted where it may be."""

import numpy as np
import pytest
import torch

from harness import Augmentation, Data, batches, join

BOTH = Augmentation(crop=True, flip=True)


def images(n=50, *, exact=False, first=0, augment=True):
    """Random images 3×6×6, their rows counted from the first."""
    pixels = torch.randint(0, 256, (n, 3, 6, 6), generator=generator(first), dtype=torch.uint8)
    rows = torch.arange(first, first + n)
    return Data(pixels / 255 if exact else pixels, rows % 3, rows, torch.full((n,), augment))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("batch", [1, 16, 64])
def test_an_epoch_gives_every_row_once_with_its_own_label_and_image(batch):
    data = images()

    parts = [*batches(data, epochs=3, batch=batch, generator=generator())]

    count = len(parts) // 3
    orders = [torch.cat([part.index for part in parts[i * count :][:count]]) for i in range(3)]
    assert count == -(-50 // batch)
    for order in orders:
        assert sorted(order.tolist()) == list(range(50))
    assert not torch.equal(orders[0], orders[1])
    for part in parts:
        assert torch.equal(part.labels, data.labels[part.index])
        assert torch.equal(part.images, data.images[part.index].float() / 255)
    assert [part.epoch for part in parts] == [0] * count + [1] * count + [2] * count
    assert [part.progress for part in parts] == pytest.approx(np.arange(3 * count) / (3 * count))


def test_batches_are_float32_in_channels_last():
    for exact in (False, True):
        part = next(batches(images(exact=exact), augmentation=BOTH, generator=generator()))

        assert part.images.dtype == torch.float32
        assert part.images.is_contiguous(memory_format=torch.channels_last)
        assert 0 <= part.images.min() <= part.images.max() <= 1


def test_the_same_generator_gives_the_same_batches_and_the_global_one_has_no_part():
    data, state = images(), torch.get_rng_state()

    runs = [
        [*batches(data, epochs=2, batch=16, augmentation=BOTH, generator=generator(4))]
        for _ in range(2)
    ]

    for first, again in zip(*runs, strict=True):
        assert torch.equal(first.images, again.images)
        assert torch.equal(first.index, again.index)
    assert torch.equal(torch.get_rng_state(), state)


def test_augmented_rows_are_crops_and_mirrors_of_their_image_and_the_others_stay_bit_equal():
    free, fixed = images(20), images(20, exact=True, first=20, augment=False)
    data = join(free, fixed)
    variants = {}
    for row in range(20):
        border = np.pad(data.images[row].numpy(), ((0, 0), (4, 4), (4, 4)))
        cuts = [border[:, y : y + 6, x : x + 6] for y in range(9) for x in range(9)]
        variants[row] = {
            np.ascontiguousarray(cut[..., ::way]).tobytes() for cut in cuts for way in (1, -1)
        }

    part = next(batches(data, batch=40, augmentation=BOTH, generator=generator()))

    moved = 0
    for image, row in zip(part.images, part.index.tolist(), strict=True):
        if row < 20:
            assert image.contiguous().numpy().tobytes() in variants[row]
            moved += not torch.equal(image, data.images[row])
        else:
            assert torch.equal(image, fixed.images[row - 20])
    assert moved >= 18


def test_each_epoch_draws_its_own_distortions():
    data = images(1)

    seen = [
        part.images for part in batches(data, epochs=8, augmentation=BOTH, generator=generator())
    ]

    assert len({image.numpy().tobytes() for image in seen}) >= 7


def test_batches_of_an_empty_set_are_refused():
    with pytest.raises(ValueError, match="empty set"):
        next(batches(images().select(torch.arange(0)), generator=generator()))
