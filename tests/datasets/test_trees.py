"""What lies in a folder of images: layouts, litter, links, kinds of files, and what is told."""

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
    """Train and test set, and the lines that were told, without the data set's name."""
    told = []
    train, test = load_dataset(f"folder:{path}", {}, path, told.append)
    return train, test, [line.removeprefix(f"folder:{path}: ") for line in told]


def counts(data):
    return torch.bincount(data.labels, minlength=len(data.classes)).tolist()


def refusal(path):
    with pytest.raises(UserError) as error:
        read(path)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("names", "order", "told"),
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
def test_classes_are_in_the_order_of_numbers_where_all_are_whole_and_the_order_is_told(
    tmp_path, names, order, told
):
    for name in names:
        write(tmp_path / name, n=3)

    train, test, lines = read(tmp_path)

    assert train.classes == test.classes == tuple(order)
    assert f"of {len(names)} classes ({told}), 8x6 RGB" in lines[0]


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
def test_a_train_and_a_test_folder_of_any_usual_name_are_the_parts(tmp_path, first, second):
    for label, name in enumerate(("cat", "dog", "emu")):
        write(tmp_path / first / name, n=4 + label)
        write(tmp_path / second / name, n=2)

    train, test, lines = read(tmp_path)

    assert (counts(train), counts(test)) == ([4, 5, 6], [2, 2, 2])
    assert lines == [
        "15 train and 6 test images of 3 classes (cat, dog, emu), 8x6 RGB",
    ]


def test_of_three_parts_the_validation_set_is_left_out_and_said_so(tmp_path):
    for part in ("train", "Val", "test"):
        for name in ("cat", "dog"):
            write(tmp_path / part / name, n=3)
    (tmp_path / "labels.csv").write_text("0,cat")

    train, test, lines = read(tmp_path)

    assert (counts(train), counts(test)) == ([3, 3], [3, 3])
    assert lines[1:] == [
        "1 left out, beside the class folders: labels.csv",
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
def test_parts_that_could_be_read_in_two_ways_are_refused_with_the_names_found(tmp_path, parts):
    for part in parts:
        for name in ("cat", "dog"):
            write(tmp_path / part / name, n=3)

    message = refusal(tmp_path)

    assert all(part in message for part in parts)
    assert "train" in message
    assert "test" in message


def test_a_part_beside_folders_with_images_is_refused(tmp_path):
    for part in ("train", "test"):
        for name in ("cat", "dog"):
            write(tmp_path / part / name, n=3)
    write(tmp_path / "bus", n=3)

    assert "holds bus, test, train; expected class folders alone, or one" in refusal(tmp_path)


def test_parts_that_hold_images_and_no_classes_are_refused(tmp_path):
    for part in ("Train", "Test"):
        write(tmp_path / part)

    assert "holds Test, Train, which hold no class folders; expected" in refusal(tmp_path)


def test_a_folder_around_the_classes_is_named_in_the_hint(tmp_path):
    for name in ("cat", "dog"):
        write(tmp_path / "pets" / name)

    message = refusal(tmp_path)

    assert "has one class alone, 'pets'; expected a subfolder a class" in message
    assert message.endswith(f"did you mean folder:{tmp_path}/pets?")


LITTER = [".ipynb_checkpoints", "__MACOSX", ".git", "@eaDir", ".thumbnails"]


@pytest.mark.parametrize("litter", LITTER)
def test_hidden_folders_are_neither_classes_nor_images_and_are_told(tmp_path, litter):
    for name in ("cat", "dog"):
        write(tmp_path / name)
        shutil.copytree(tmp_path / name, tmp_path / name / litter)
    write(tmp_path / litter)

    train, test, lines = read(tmp_path)

    assert (counts(train), counts(test)) == ([4, 4], [1, 1])
    assert lines[1:] == [f"3 left out, hidden: {litter}, cat/{litter}, dog/{litter}"]


@pytest.mark.parametrize("litter", [".DS_Store", "Thumbs.db", "._0.png", "desktop.ini"])
def test_hidden_files_are_left_out_and_told(tmp_path, litter):
    for name in ("cat", "dog"):
        write(tmp_path / name)
    (tmp_path / litter).write_bytes(b"x")
    shutil.copy(tmp_path / "cat" / "0.png", tmp_path / "cat" / litter)

    train, _, lines = read(tmp_path)

    assert counts(train) == [4, 4]
    assert lines[1:] == [f"2 left out, hidden: {litter}, cat/{litter}"]


def test_a_hidden_part_in_the_path_itself_is_no_reason_to_leave_anything_out(tmp_path):
    for name in ("cat", "dog"):
        write(tmp_path / ".cache" / "pets" / name)

    train, _, lines = read(tmp_path / ".cache" / "pets")

    assert counts(train) == [4, 4]
    assert len(lines) == 1


@pytest.mark.parametrize("ext", ["gif", "jp2", "jfif", "webp", "bmp", "tiff", "PNG", "ppm", "tga"])
def test_an_image_of_any_format_that_pillow_reads_is_an_image(tmp_path, ext):
    form = {"jfif": "JPEG", "PNG": "PNG", "jp2": "JPEG2000"}.get(ext)
    for name in ("cat", "dog"):
        write(tmp_path / name)
    for row in range(10, 50):
        picture(row).save(tmp_path / "cat" / f"{row}.{ext}", format=form)

    train, test, _ = read(tmp_path)

    assert counts(train)[0] + counts(test)[0] == 45


def test_an_image_without_an_extension_or_with_a_strange_one_is_an_image(tmp_path):
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


def test_files_that_are_no_images_are_counted_and_named(tmp_path):
    for name in ("cat", "dog"):
        write(tmp_path / name)
    for name in ("a.mp4", "b.heic", "c.txt", "d"):
        (tmp_path / "cat" / name).write_bytes(b"no image at all")
    (tmp_path / "README.md").write_text("pets")

    _, _, lines = read(tmp_path)

    assert lines[1:] == [
        "4 left out, no image that Pillow reads: cat/a.mp4, cat/b.heic, cat/c.txt, …",
        "1 left out, beside the class folders: README.md",
    ]


def test_a_class_of_files_that_are_no_images_is_refused_with_what_it_holds(tmp_path):
    for name in ("cat", "dog"):
        write(tmp_path / name)
    (tmp_path / "emu").mkdir()
    (tmp_path / "emu" / "1.heic").write_bytes(b"no image")

    message = refusal(tmp_path)

    assert "no image in the class emu (emu/1.heic is not one that Pillow reads)" in message


def test_a_pipe_is_left_out_and_does_not_hang(tmp_path):
    for name in ("cat", "dog"):
        write(tmp_path / name)
    os.mkfifo(tmp_path / "cat" / "pipe.png")

    _, _, lines = read(tmp_path)

    assert lines[1:] == ["1 left out, no image that Pillow reads: cat/pipe.png"]


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
def test_a_link_to_what_is_read_already_is_told_and_not_followed(tmp_path, link):
    root = tmp_path / "pets"
    for name in ("cat", "dog"):
        write(root / name)
    place = link(root)

    train, test, lines = read(root)

    assert (counts(train), counts(test)) == ([4, 4], [1, 1])
    assert "left out, a link to what is read already: " in lines[1]
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


def test_a_root_that_is_a_link_is_read_like_any_other(tmp_path):
    for name in ("cat", "dog"):
        write(tmp_path / "pets" / name)
    (tmp_path / "link").symlink_to(tmp_path / "pets")

    train, _, lines = read(tmp_path / "link")

    assert counts(train) == [4, 4]
    assert len(lines) == 1


def test_one_file_in_two_classes_or_in_train_and_test_is_refused(tmp_path):
    for name in ("cat", "dog"):
        write(tmp_path / "a" / name)
        write(tmp_path / "b" / "train" / name)
        write(tmp_path / "b" / "test" / name)
    (tmp_path / "a" / "dog" / "x.png").symlink_to(tmp_path / "a" / "cat" / "0.png")
    (tmp_path / "b" / "test" / "cat" / "x.png").symlink_to(tmp_path / "b/train/cat/0.png")

    assert "dog/x.png is, by a link, also one of" in refusal(tmp_path / "a")
    assert "test/cat/x.png is, by a link, also one of" in refusal(tmp_path / "b")


def test_a_folder_with_an_at_in_its_name_is_that_folder(tmp_path):
    for name in ("cat", "dog"):
        write(tmp_path / "set@64" / name, size=(64, 64))
        write(tmp_path / "other" / name, n=10, size=(20, 20))

    train, _, lines = read(tmp_path / "set@64")
    small, _, _ = read(tmp_path / "set@64@8")

    assert (counts(train), train.shape) == ([4, 4], (3, 64, 64))
    assert small.shape == (3, 8, 8)
    assert len(lines) == 1


def test_of_two_folders_that_an_at_may_mean_the_one_of_that_name_is_read_and_told(tmp_path):
    for name in ("cat", "dog"):
        write(tmp_path / "set@64" / name, size=(64, 64))
        write(tmp_path / "set" / name, n=10, size=(20, 20))

    train, _, lines = read(tmp_path / "set@64")
    resized, _, _ = read(tmp_path / "set/@64")

    assert counts(train) == [4, 4]
    assert lines[1:] == [
        (
            f"the folder of this very name is read; {tmp_path}/set resized to 64 px is "
            f"folder:{tmp_path}/set/@64"
        )
    ]
    assert (counts(resized), resized.shape) == ([8, 8], (3, 64, 64))


@pytest.mark.parametrize("ext", ["jpg", "png", "tiff", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photograph_is_turned_upright_as_its_exif_says(tmp_path, ext, orientation):
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
    turned = ["6 of 6 images are turned upright, as their EXIF says"] * (orientation > 1)
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
    assert "odd.jpg 6×8" in refusal(tmp_path)


@pytest.mark.parametrize("ext", ["gif", "png", "tiff", "webp"])
def test_of_several_frames_the_first_is_read_and_told(tmp_path, ext):
    for name in ("cat", "dog"):
        write(tmp_path / name)
    first, *more = (Image.new("RGB", (8, 6), (0, 80 * i, 0)) for i in range(3))
    options = {"lossless": True} if ext == "webp" else {}
    first.save(tmp_path / "cat" / f"film.{ext}", save_all=True, append_images=more, **options)

    train, test, lines = read(tmp_path)

    assert lines[1:] == ["1 of 11 images hold several frames, of which the first is read"]
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
def test_pixels_that_eight_bits_cannot_hold_are_refused(tmp_path, mode):
    for name in ("cat", "dog"):
        write(tmp_path / name)
    if mode == "LAB":
        Image.new("LAB", (8, 6)).save(tmp_path / "cat" / "odd.tiff")
    else:
        Image.new(mode, (8, 6)).save(tmp_path / "cat" / "odd.tiff")

    assert f"odd.tiff has pixels of mode {mode}; expected 8 bits a channel" in refusal(tmp_path)


def test_a_folder_whose_name_is_not_utf8_has_a_name_that_a_file_can_hold(tmp_path):
    for name in (b"caf\xe9", b"tab\there"):
        write(tmp_path / os.fsdecode(name), n=3)

    train, _, lines = read(tmp_path)

    assert train.classes == ("caf\\xe9", "tab\\there")
    assert "(caf\\xe9, tab\\there)" in lines[0]


def test_what_is_found_is_told_in_one_line(tmp_path):
    for name in ("cat", "dog", "emu"):
        write(tmp_path / name, n=25, size=(16, 16), mode="L")

    _, _, lines = read(tmp_path)

    assert lines == ["60 train and 15 test images of 3 classes (cat, dog, emu), 16x16 grey"]
