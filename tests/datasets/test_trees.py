"""The files in a folder of images: layouts, litter, links, file types, and the report."""

import os
import shutil

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from harness import UserError
from harness.datasets.builtin import load_dataset


def picture(seed, *, size=(8, 6), mode="RGB"):
    """Random pixels, ``size`` as (width, height)."""
    depth = {"L": (), "RGB": (3,), "CMYK": (4,)}[mode]
    pixels = np.random.default_rng(seed).integers(0, 256, (*size[::-1], *depth), dtype=np.uint8)
    return Image.fromarray(pixels, mode="CMYK") if mode == "CMYK" else Image.fromarray(pixels)


def write(folder, *, n=5, first=0, ext="png", **kind):
    folder.mkdir(parents=True, exist_ok=True)
    for row in range(n):
        picture(first + row, **kind).save(folder / f"{row}.{ext}")


def read(path):
    """The train and the test set, and the reported lines without the data set's name."""
    reported = []
    train, test = load_dataset(f"folder:{path}", {}, path, reported.append)
    return train, test, [line.removeprefix(f"folder:{path}: ") for line in reported]


def counts(data):
    return torch.bincount(data.labels, minlength=len(data.classes)).tolist()


def refusal(path):
    with pytest.raises(UserError) as error:
        read(path)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("names", "order", "text"),
    [
        ([str(i) for i in range(12)], [str(i) for i in range(12)], "0 to 11"),
        (["10", "9", "100"], ["9", "10", "100"], "0 is '9', 1 is '10', 2 is '100'"),
        (["00", "01", "02"], ["00", "01", "02"], "0 is '00', 1 is '01', 2 is '02'"),
        (["2", "10", "cat"], ["10", "2", "cat"], "0 is '10', 1 is '2', 2 is 'cat'"),
        (["-1", "0", "1"], ["-1", "0", "1"], "0 is '-1', 1 is '0', 2 is '1'"),
        (["img2", "img10"], ["img10", "img2"], "img10, img2"),
        (["dog", "Cat"], ["Cat", "dog"], "Cat, dog"),
    ],
)
def test_classes_are_sorted_numerically_if_all_are_whole_numbers_and_the_order_is_reported(
    tmp_path, names, order, text
):
    for name in names:
        write(tmp_path / name, n=3)

    train, test, lines = read(tmp_path)

    assert train.classes == test.classes == tuple(order)
    assert f"of {len(names)} classes ({text}), 8x6 RGB" in lines[0]


def test_class_three_of_twelve_numbered_folders_is_folder_three(tmp_path):
    for label in range(12):
        folder = tmp_path / str(label)
        folder.mkdir()
        for row in range(5):
            Image.new("L", (4, 4), 10 * label).save(folder / f"{row}.png")

    train, test, _ = read(tmp_path)

    for data in (train, test):
        assert torch.equal(data.images[:, 0, 0, 0], (10 * data.labels).to(torch.uint8))


SPLITS = [
    ("train", "test"),
    ("Train", "Test"),
    ("TRAIN", "TEST"),
    ("training", "testing"),
    ("Training", "validation"),
    ("train", "val"),
    ("train", "valid"),
    ("TrainSet", "Test_Set"),
    ("training_set", "test_set"),
    ("train-images", "eval"),
]


@pytest.mark.parametrize(("first", "second"), SPLITS)
def test_train_and_test_folders_with_any_common_name_are_recognised(tmp_path, first, second):
    for label, name in enumerate(("cat", "dog", "emu")):
        write(tmp_path / first / name, n=4 + label)
        write(tmp_path / second / name, n=2)

    train, test, lines = read(tmp_path)

    assert (counts(train), counts(test)) == ([4, 5, 6], [2, 2, 2])
    assert lines == [
        "15 train and 6 test images of 3 classes (cat, dog, emu), 8x6 RGB",
    ]


def test_a_validation_folder_beside_train_and_test_is_left_out_and_reported(tmp_path):
    for part in ("train", "Val", "test"):
        for name in ("cat", "dog"):
            write(tmp_path / part / name, n=3)
    (tmp_path / "labels.csv").write_text("0,cat")

    train, test, lines = read(tmp_path)

    assert (counts(train), counts(test)) == ([3, 3], [3, 3])
    assert lines[1:] == [
        "1 left out, next to the class folders: labels.csv",
        "1 left out, neither the train nor the test set: Val",
    ]


@pytest.mark.parametrize(
    "parts",
    [
        ("train", "Train", "test"),
        ("train", "test", "testing"),
        ("train", "val", "valid"),
        ("train",),
        ("Test",),
        ("validation",),
        ("train", "training"),
        ("tests", "trains"),
        ("A", "B"),
        ("source", "target", "train"),
    ],
)
def test_ambiguous_parts_are_rejected_with_the_names_found(tmp_path, parts):
    for part in parts:
        for name in ("cat", "dog"):
            write(tmp_path / part / name, n=3)

    message = refusal(tmp_path)

    assert all(part in message for part in parts)
    assert "train" in message
    assert "test" in message


def test_parts_beside_a_folder_with_images_are_rejected(tmp_path):
    for part in ("train", "test"):
        for name in ("cat", "dog"):
            write(tmp_path / part / name, n=3)
    write(tmp_path / "bus", n=3)

    assert "contains bus, test, train; expected only class folders, or one" in refusal(tmp_path)


def test_parts_that_contain_images_instead_of_classes_are_rejected(tmp_path):
    for part in ("Train", "Test"):
        write(tmp_path / part)

    assert "contains Test, Train, which contain no class folders; expected" in refusal(tmp_path)


def test_a_folder_around_the_classes_is_named_in_the_hint(tmp_path):
    for name in ("cat", "dog"):
        write(tmp_path / "pets" / name)

    message = refusal(tmp_path)

    assert "has only one class, 'pets'; expected two or more subfolders" in message
    assert message.endswith(f"did you mean folder:{tmp_path}/pets?")


LITTER = [".ipynb_checkpoints", "__MACOSX", ".git", "@eaDir", ".thumbnails"]


@pytest.mark.parametrize("litter", LITTER)
def test_hidden_folders_are_neither_classes_nor_images_and_are_reported(tmp_path, litter):
    for name in ("cat", "dog"):
        write(tmp_path / name)
        shutil.copytree(tmp_path / name, tmp_path / name / litter)
    write(tmp_path / litter)

    train, test, lines = read(tmp_path)

    assert (counts(train), counts(test)) == ([4, 4], [1, 1])
    assert lines[1:] == [f"3 left out, hidden: {litter}, cat/{litter}, dog/{litter}"]


@pytest.mark.parametrize("litter", [".DS_Store", "Thumbs.db", "._0.png", "desktop.ini"])
def test_hidden_files_are_left_out_and_reported(tmp_path, litter):
    for name in ("cat", "dog"):
        write(tmp_path / name)
    (tmp_path / litter).write_bytes(b"x")
    shutil.copy(tmp_path / "cat" / "0.png", tmp_path / "cat" / litter)

    train, _, lines = read(tmp_path)

    assert counts(train) == [4, 4]
    assert lines[1:] == [f"2 left out, hidden: {litter}, cat/{litter}"]


def test_a_hidden_folder_in_the_given_path_hides_nothing(tmp_path):
    for name in ("cat", "dog"):
        write(tmp_path / ".cache" / "pets" / name)

    train, _, lines = read(tmp_path / ".cache" / "pets")

    assert counts(train) == [4, 4]
    assert len(lines) == 1


@pytest.mark.parametrize("ext", ["gif", "jp2", "jfif", "webp", "bmp", "tiff", "PNG", "ppm", "tga"])
def test_every_format_that_pillow_can_read_is_accepted(tmp_path, ext):
    form = {"jfif": "JPEG", "PNG": "PNG", "jp2": "JPEG2000"}.get(ext)
    for name in ("cat", "dog"):
        write(tmp_path / name)
    for row in range(10, 50):
        picture(row).save(tmp_path / "cat" / f"{row}.{ext}", format=form)

    train, test, _ = read(tmp_path)

    assert counts(train)[0] + counts(test)[0] == 45


def test_an_image_is_recognised_without_a_known_extension(tmp_path):
    for name in ("cat", "dog"):
        write(tmp_path / name)
    picture(7).save(tmp_path / "cat" / "photo", format="PNG")
    picture(8).save(tmp_path / "cat" / "photo.v2", format="PNG")
    picture(9).save(tmp_path / "cat" / "photo.png.bak", format="PNG")

    train, test, _ = read(tmp_path)

    found = {image.numpy().tobytes() for data in (train, test) for image in data.images}
    assert counts(train)[0] + counts(test)[0] == 8
    for seed in (7, 8, 9):
        assert np.asarray(picture(seed)).transpose(2, 0, 1).tobytes() in found


def test_files_that_are_not_images_are_counted_and_named(tmp_path):
    for name in ("cat", "dog"):
        write(tmp_path / name)
    for name in ("a.mp4", "b.heic", "c.txt", "d"):
        (tmp_path / "cat" / name).write_bytes(b"no image at all")
    (tmp_path / "README.md").write_text("pets")

    _, _, lines = read(tmp_path)

    assert lines[1:] == [
        "4 left out, not an image that Pillow can read: cat/a.mp4, cat/b.heic, cat/c.txt, …",
        "1 left out, next to the class folders: README.md",
    ]


def test_a_class_without_readable_images_is_rejected_with_its_files(tmp_path):
    for name in ("cat", "dog"):
        write(tmp_path / name)
    (tmp_path / "emu").mkdir()
    (tmp_path / "emu" / "1.heic").write_bytes(b"no image")

    message = refusal(tmp_path)

    assert "no image in class emu (Pillow cannot read emu/1.heic)" in message


def test_a_pipe_is_left_out_and_does_not_block(tmp_path):
    for name in ("cat", "dog"):
        write(tmp_path / name)
    os.mkfifo(tmp_path / "cat" / "pipe.png")

    _, _, lines = read(tmp_path)

    assert lines[1:] == ["1 left out, not an image that Pillow can read: cat/pipe.png"]


def to_itself(root):
    (root / "cat" / "self").symlink_to(".")
    return "cat/self"


def to_its_parent(root):
    (root / "cat" / "up").symlink_to("..")
    return "cat/up"


def to_its_parents_parent(root):
    (root / "cat" / "up").symlink_to(root.parent)
    return "cat/up"


def to_a_neighbour(root):
    (root / "cat" / "again.png").symlink_to("0.png")
    return "cat/again.png"


def to_a_loop_of_two(root):
    for name, other in (("a", "b"), ("b", "a")):
        (root / "cat" / name).mkdir()
        (root / "cat" / name / "on").symlink_to(root / "cat" / other)
    return "cat/a/on"


@pytest.mark.parametrize(
    "link", [to_itself, to_its_parent, to_its_parents_parent, to_a_neighbour, to_a_loop_of_two]
)
def test_a_link_to_something_already_read_is_reported_and_not_followed(tmp_path, link):
    root = tmp_path / "pets"
    for name in ("cat", "dog"):
        write(root / name)
    place = link(root)

    train, test, lines = read(root)

    assert (counts(train), counts(test)) == ([4, 4], [1, 1])
    assert "left out, a link to something already read: " in lines[1]
    assert place.split("/")[-1] in lines[1]


def test_links_to_files_and_folders_elsewhere_are_followed(tmp_path):
    write(tmp_path / "store" / "all", n=5)
    write(tmp_path / "store" / "dogs", n=5)
    (tmp_path / "pets" / "cat").mkdir(parents=True)
    for row in range(5):
        (tmp_path / "pets" / "cat" / f"{row}.png").symlink_to(tmp_path / "store/all" / f"{row}.png")
    (tmp_path / "pets" / "dog").symlink_to(tmp_path / "store" / "dogs")

    train, test, lines = read(tmp_path / "pets")

    assert (counts(train), counts(test)) == ([4, 4], [1, 1])
    assert len(lines) == 1


def test_the_given_folder_may_itself_be_a_link(tmp_path):
    for name in ("cat", "dog"):
        write(tmp_path / "pets" / name)
    (tmp_path / "link").symlink_to(tmp_path / "pets")

    train, _, lines = read(tmp_path / "link")

    assert counts(train) == [4, 4]
    assert len(lines) == 1


def test_one_file_in_two_classes_or_in_both_train_and_test_is_rejected(tmp_path):
    for name in ("cat", "dog"):
        write(tmp_path / "a" / name)
        write(tmp_path / "b" / "train" / name)
        write(tmp_path / "b" / "test" / name)
    (tmp_path / "a" / "dog" / "x.png").symlink_to(tmp_path / "a" / "cat" / "0.png")
    (tmp_path / "b" / "test" / "cat" / "x.png").symlink_to(tmp_path / "b/train/cat/0.png")

    assert "dog/x.png also belongs to" in refusal(tmp_path / "a")
    assert "test/cat/x.png also belongs to" in refusal(tmp_path / "b")


def test_a_folder_may_have_an_at_sign_in_its_name(tmp_path):
    for name in ("cat", "dog"):
        write(tmp_path / "set@64" / name, size=(64, 64))
        write(tmp_path / "other" / name, n=10, size=(20, 20))

    train, _, lines = read(tmp_path / "set@64")
    small, _, _ = read(tmp_path / "set@64@8")

    assert (counts(train), train.shape) == ([4, 4], (3, 64, 64))
    assert small.shape == (3, 8, 8)
    assert len(lines) == 1


def test_an_at_sign_that_could_also_mean_a_size_is_taken_as_part_of_the_name_and_reported(tmp_path):
    for name in ("cat", "dog"):
        write(tmp_path / "set@64" / name, size=(64, 64))
        write(tmp_path / "set" / name, n=10, size=(20, 20))

    train, _, lines = read(tmp_path / "set@64")
    resized, _, _ = read(tmp_path / "set/@64")

    assert counts(train) == [4, 4]
    assert lines[1:] == [
        (
            f"reading the folder with exactly this name; for {tmp_path}/set resized to 64 px, give "
            f"folder:{tmp_path}/set/@64"
        )
    ]
    assert (counts(resized), resized.shape) == ([8, 8], (3, 64, 64))


@pytest.mark.parametrize("ext", ["jpg", "png", "tiff", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photograph_is_turned_upright_according_to_its_exif_data(tmp_path, ext, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    levels = np.array([[0, 60, 120], [180, 240, 30]], np.uint8)
    blocks = Image.fromarray(np.kron(levels, np.ones((16, 16), np.uint8)))
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for row in range(3):
            options = {"quality": 100} if ext in ("jpg", "webp") else {}
            blocks.convert("RGB").save(tmp_path / name / f"{row}.{ext}", exif=exif, **options)

    train, _, lines = read(tmp_path)

    with Image.open(tmp_path / "cat" / f"0.{ext}") as image:
        upright = np.asarray(ImageOps.exif_transpose(image).convert("RGB")).transpose(2, 0, 1)
    assert train.shape == ((3, 48, 32) if orientation >= 5 else (3, 32, 48))
    assert (train.images == torch.tensor(upright.copy())).all()
    turned = ["6 of 6 images are turned upright according to their EXIF data"] * (orientation > 1)
    assert lines[1:] == turned


def test_sizes_are_compared_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    for name in ("cat", "dog"):
        write(tmp_path / name, size=(8, 6))
        picture(9, size=(6, 8)).save(tmp_path / name / "turned.jpg", exif=exif)

    train, _, _ = read(tmp_path)
    picture(9, size=(8, 6)).save(tmp_path / "cat" / "odd.jpg", exif=exif)

    assert train.shape == (3, 6, 8)
    assert "images differ in size" in refusal(tmp_path)
    assert "odd.jpg is 6×8" in refusal(tmp_path)


@pytest.mark.parametrize("ext", ["gif", "png", "tiff", "webp"])
def test_only_the_first_of_several_frames_is_read_which_is_reported(tmp_path, ext):
    for name in ("cat", "dog"):
        write(tmp_path / name)
    first, *more = (Image.new("RGB", (8, 6), (0, 80 * i, 0)) for i in range(3))
    options = {"lossless": True} if ext == "webp" else {}
    first.save(tmp_path / "cat" / f"film.{ext}", save_all=True, append_images=more, **options)

    train, test, lines = read(tmp_path)

    assert lines[1:] == ["1 of 11 images have several frames, of which only the first is read"]
    assert any(not image.any() for data in (train, test) for image in data.images)


def test_cmyk_and_palettes_with_transparency_become_rgb(tmp_path):
    red = Image.new("RGB", (8, 6), (255, 0, 0))
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for row in range(3):
            red.convert("CMYK").save(tmp_path / name / f"{row}.tiff")
            red.quantize(4).save(tmp_path / name / f"{row}.png", transparency=0)
            red.quantize(4).save(tmp_path / name / f"{row}.gif", transparency=0)

    train, test, lines = read(tmp_path)

    for data in (train, test):
        assert (data.images[:, 0] == 255).all()
        assert (data.images[:, 1:] == 0).all()
    assert len(lines) == 1


@pytest.mark.parametrize("mode", ["I", "F", "I;16", "LAB"])
def test_pixels_of_more_than_eight_bits_are_rejected(tmp_path, mode):
    for name in ("cat", "dog"):
        write(tmp_path / name)
    if mode == "LAB":
        Image.new("LAB", (8, 6)).save(tmp_path / "cat" / "odd.tiff")
    else:
        Image.new(mode, (8, 6)).save(tmp_path / "cat" / "odd.tiff")

    assert f"odd.tiff has pixels of mode {mode}; expected 8 bits per channel" in refusal(tmp_path)


def test_a_class_folder_whose_name_is_not_utf8_gets_an_escaped_name(tmp_path):
    for name in (b"caf\xe9", b"tab\there"):
        write(tmp_path / os.fsdecode(name), n=3)

    train, _, lines = read(tmp_path)

    assert train.classes == ("caf\\xe9", "tab\\there")
    assert "(caf\\xe9, tab\\there)" in lines[0]


def test_an_ordinary_folder_is_described_in_one_line(tmp_path):
    for name in ("cat", "dog", "emu"):
        write(tmp_path / name, n=25, size=(16, 16), mode="L")

    _, _, lines = read(tmp_path)

    assert lines == ["60 train and 15 test images of 3 classes (cat, dog, emu), 16x16 grey"]
