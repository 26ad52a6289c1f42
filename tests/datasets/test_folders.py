"""Any folder of images as a data set: layouts, sizes, colours, the split, and rejected folders."""

import os
import struct

import numpy as np
import pytest
import torch
from PIL import Image

from harness import UserError
from harness.datasets import folders
from harness.datasets.builtin import load_dataset
from harness.datasets.folders import load_folder


def picture(seed, *, size=(8, 6), mode="L"):
    """Random pixels, ``size`` as (width, height)."""
    depth = {"L": (), "LA": (2,), "RGB": (3,), "RGBA": (4,)}[mode]
    pixels = np.random.default_rng(seed).integers(0, 256, (*size[::-1], *depth), dtype=np.uint8)
    return Image.fromarray(pixels)


def write(folder, *, n=5, first=0, **kind):
    """Writes files 0.png, 1.png, …, each with different pixels."""
    folder.mkdir(parents=True, exist_ok=True)
    for row in range(n):
        picture(first + row, **kind).save(folder / f"{row}.png")


@pytest.fixture
def two_classes(tmp_path):
    """Five images of ants and five of bees, 8 wide and 6 high, grey."""
    write(tmp_path / "ants")
    write(tmp_path / "bees", first=5)
    return tmp_path


def rows(data):
    """The (bytes, label) pairs of a data set."""
    pairs = zip(data.images, data.labels, strict=True)
    return {(image.numpy().tobytes(), int(label)) for image, label in pairs}


def test_a_fixed_fifth_of_each_class_is_the_test_set_and_no_pixel_changes(two_classes):
    train, test = load_dataset(f"folder:{two_classes}", {}, two_classes)

    again = load_folder(str(two_classes))
    expected = {(picture(row).tobytes(), row // 5) for row in range(10)}
    assert train.images.dtype == torch.uint8
    assert train.shape == test.shape == (1, 6, 8)
    assert torch.bincount(train.labels).tolist() == [4, 4]
    assert torch.bincount(test.labels).tolist() == [1, 1]
    assert rows(train) | rows(test) == expected
    assert torch.equal(train.images, again[0].images)
    assert torch.equal(test.images, again[1].images)


@pytest.mark.parametrize("second", ["test", "val"])
def test_a_split_on_disk_is_kept(tmp_path, second):
    for label, name in enumerate(("ants", "bees")):
        write(tmp_path / "train" / name, n=3, first=10 * label)
        write(tmp_path / second / name, n=2, first=10 * label + 5)

    train, test = load_folder(str(tmp_path))

    assert rows(train) == {(picture(10 * y + i).tobytes(), y) for y in (0, 1) for i in range(3)}
    assert rows(test) == {(picture(10 * y + i).tobytes(), y) for y in (0, 1) for i in (5, 6)}


def test_a_class_may_be_called_train(tmp_path):
    for name in ("bus", "train"):
        write(tmp_path / name)

    train, _ = load_folder(str(tmp_path))

    assert torch.bincount(train.labels).tolist() == [4, 4]


@pytest.mark.parametrize(
    ("modes", "channels"),
    [
        (("L", "L"), 1),
        (("L", "LA"), 1),
        (("L", "RGB"), 3),
        (("RGB", "RGB"), 3),
        (("RGBA", "L"), 3),
    ],
)
def test_images_stay_grey_if_all_are_and_lose_their_transparency(tmp_path, modes, channels):
    for name, mode in zip(("ants", "bees"), modes, strict=True):
        write(tmp_path / name, mode=mode)

    train, test = load_folder(str(tmp_path))

    layer = np.asarray(picture(0, mode=modes[0]))
    layer = layer if layer.ndim == 3 else layer[..., None]
    expected = np.broadcast_to(layer[..., : min(channels, layer.shape[2])], (6, 8, channels))
    assert train.shape == test.shape == (channels, 6, 8)
    assert (np.ascontiguousarray(expected.transpose(2, 0, 1)).tobytes(), 0) in rows(train) | rows(
        test
    )


def test_a_palette_with_transparency_is_read_without_a_warning(two_classes):
    colours = picture(3, mode="RGB").convert("P")
    colours.save(two_classes / "ants" / "0.png", transparency=bytes(10))

    train, _ = load_folder(str(two_classes))

    assert train.shape == (3, 6, 8)


def test_images_of_many_sizes_are_resized_by_the_shorter_side_and_centre_cropped(tmp_path):
    for name in ("ants", "bees"):
        write(tmp_path / name, n=3, size=(16, 8))
        picture(9, size=(10, 30)).save(tmp_path / name / "high.png")

    train, test = load_folder(f"{tmp_path}@4")

    wide = picture(0, size=(16, 8)).resize((8, 4), Image.Resampling.BILINEAR).crop((2, 0, 6, 4))
    high = picture(9, size=(10, 30)).resize((4, 12), Image.Resampling.BILINEAR).crop((0, 4, 4, 8))
    assert train.shape == (1, 4, 4)
    assert {(wide.tobytes(), 0), (high.tobytes(), 0)} <= rows(train) | rows(test)


def test_differing_sizes_are_rejected_with_two_files_and_a_remedy(two_classes):
    picture(0, size=(9, 9)).save(two_classes / "bees" / "odd.png")

    with pytest.raises(
        UserError, match=r"is 8×6, .*odd\.png is 9×9; give one size, as in folder:PATH@32"
    ):
        load_folder(str(two_classes))


def test_a_folder_too_big_for_memory_is_rejected_with_its_size(two_classes, monkeypatch):
    monkeypatch.setattr(folders, "LIMIT", 10 * 6 * 8 - 1)

    with pytest.raises(UserError, match=r"GiB of pixels.*folder:.*@32"):
        load_folder(str(two_classes))
    train, _ = load_folder(f"{two_classes}@4")

    assert train.shape == (1, 4, 4)


def no_folder(path):
    return f"{path}/nowhere", "there is no folder .*/nowhere"


def a_file(path):
    return f"{path}/ants/0.png", "there is no folder"


def no_name(_path):
    return "", "names no folder; expected folder:PATH"


def too_small(path):
    return f"{path}@3", "the size after @ must be 4 to 1024 px; got 3"


def too_large(path):
    return f"{path}@1025", "must be 4 to 1024 px; got 1025"


def no_classes(path):
    return f"{path}/ants", "expected two or more subfolders, one per class"


def an_empty_class(path):
    (path / "cats").mkdir()
    return str(path), "no image in class cats; expected two or more subfolders"


def one_class(path):
    write(path / "more" / "cats")
    return f"{path}/more", "only one class, 'cats'"


def few_images(path):
    for name in ("ants", "bees"):
        write(path / "few" / name, n=2)
    return f"{path}/few", "few: too few images for a test set; expected at least 3 in some class"


def train_alone(path):
    for name in ("ants", "bees"):
        write(path / "half" / "Train" / name)
    return f"{path}/half", "half contains Train; expected only class folders, or one train and one"


def other_classes(path):
    for half, names in (("train", ("ants", "bees")), ("test", ("ants", "wasps"))):
        for name in names:
            write(path / "two" / half / name)
    return f"{path}/two", r"train and test differ in their classes: \['bees', 'wasps'\]"


def an_empty_file(path):
    (path / "ants" / "2.png").write_bytes(b"")
    return str(path), r"cannot read the image .*ants/2\.png: cannot identify"


def half_a_file(path):
    file = path / "bees" / "4.png"
    file.write_bytes(file.read_bytes()[:70])
    return str(path), r"cannot read the image .*bees/4\.png: image file is truncated"


def a_dangling_link(path):
    (path / "ants" / "9.png").symlink_to(path / "nowhere.png")
    return str(path), r"cannot read the image .*9\.png: .*No such file"


def a_broken_header(path):
    (path / "ants" / "9.ppm").write_bytes(b"P5\n4\xd3 4\n255\n" + bytes(16))
    return str(path), r"cannot read the image .*9\.ppm: invalid literal"


def a_bomb(path):
    head = struct.pack("<IiiHH", 40, 40_000, 40_000, 1, 24)  # 40,000 × 40,000 pixels to come
    (path / "ants" / "9.bmp").write_bytes(b"BM" + bytes(12) + head + bytes(24))
    return str(path), r"cannot read the image .*9\.bmp: Image size"


def sixteen_bits(path):
    deep = np.full((6, 8), 40_000, dtype=np.uint16)
    Image.fromarray(deep).save(path / "ants" / "9.png")
    return str(path), r"9\.png has pixels of mode I;16; expected 8 bits per channel"


MISTAKES = [
    no_folder,
    a_file,
    no_name,
    too_small,
    too_large,
    no_classes,
    an_empty_class,
    one_class,
    few_images,
    train_alone,
    other_classes,
    an_empty_file,
    half_a_file,
    a_dangling_link,
    a_broken_header,
    a_bomb,
    sixteen_bits,
]


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.__name__)
def test_a_folder_that_cannot_be_used_gives_a_one_line_error_with_the_culprit(two_classes, mistake):
    given, message = mistake(two_classes)

    with pytest.raises(UserError, match=message) as error:
        load_folder(given)

    assert "\n" not in str(error.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_read_permission_is_a_user_error(two_classes):
    (two_classes / "ants" / "2.png").chmod(0)

    with pytest.raises(UserError, match=r"cannot read the image .*2\.png: .*Permission denied"):
        load_folder(str(two_classes))
