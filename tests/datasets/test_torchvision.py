"""Torchvision's data sets: small and real files in all five formats, missing and damaged ones."""

import pickle
import shutil
import socket
import struct
import subprocess
import sys

import numpy as np
import pytest
import torch
from scipy.io import savemat

from harness import UserError
from harness.datasets.builtin import (
    channel_statistics,
    few_of,
    from_torchvision,
    load_dataset,
    of_classes,
    unlearning_datasets,
)

BUILT_IN = {dataset.name: dataset for dataset in unlearning_datasets()}


def loaded(name, root):
    return load_dataset(name, BUILT_IN, root)


def idx(path, values):
    """Writes a file in MNIST's format: magic number, sizes, bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    head = struct.pack(f">{1 + values.ndim}I", 2048 + values.ndim, *values.shape)
    path.write_bytes(head + values.tobytes())


def arrays(n, shape):
    images = np.random.default_rng(n).integers(0, 256, (n, *shape), dtype=np.uint8)
    return images, np.arange(n, dtype=np.uint8) % 10


def write_mnist(root, name):
    parts = []
    for part, n in (("train", 12), ("t10k", 5)):
        images, labels = arrays(n, (28, 28))
        idx(root / name / "raw" / f"{part}-images-idx3-ubyte", images)
        idx(root / name / "raw" / f"{part}-labels-idx1-ubyte", labels)
        parts.append((images[:, None], labels))
    return parts


NAMES = [f"kind {label}" for label in range(100)]


def write_cifar(root, folder, key, files, meta):
    parts = []
    for names in files:
        images, labels = zip(*(arrays(10 + len(name), (3, 32, 32)) for name in names), strict=True)
        for name, some, own in zip(names, images, labels, strict=True):
            (root / folder).mkdir(exist_ok=True)
            batch = {"data": some.reshape(len(some), -1), key: own.tolist()}
            (root / folder / name).write_bytes(pickle.dumps(batch))
        parts.append((np.concatenate(images), np.concatenate(labels)))
    (root / folder / meta[0]).write_bytes(pickle.dumps({meta[1]: NAMES[: meta[2]]}))
    return parts


def write_svhn(root, _name):
    parts = []
    for part, n in (("train", 11), ("test", 4)):
        images, labels = arrays(n, (3, 32, 32))
        given = np.where(labels == 0, 10, labels)[:, None]  # SVHN calls the digit 0 "10"
        savemat(root / f"{part}_32x32.mat", {"X": images.transpose(2, 3, 1, 0), "y": given})
        parts.append((images, labels))
    return parts


WRITERS = {
    "MNIST": write_mnist,
    "FashionMNIST": write_mnist,
    "SVHN": write_svhn,
    "CIFAR10": lambda root, _: write_cifar(
        root,
        "cifar-10-batches-py",
        "labels",
        ([f"data_batch_{i}" for i in range(1, 6)], ["test_batch"]),
        ("batches.meta", "label_names", 10),
    ),
    "CIFAR100": lambda root, _: write_cifar(
        root,
        "cifar-100-python",
        "fine_labels",
        (["train"], ["test"]),
        ("meta", "fine_label_names", 100),
    ),
}


@pytest.fixture
def offline(monkeypatch):
    """Simulates a machine without a network, and lets torchvision accept our small files."""

    def unreachable(*_):
        raise socket.gaierror("no network")

    monkeypatch.setattr(socket, "getaddrinfo", unreachable)
    for module in ("cifar", "svhn"):
        monkeypatch.setattr(f"torchvision.datasets.{module}.check_integrity", lambda *_: True)


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("name", WRITERS)
def test_torchvisions_files_become_bytes_with_channels_first(name, tmp_path):
    parts = WRITERS[name](tmp_path, name)

    found = loaded(name, tmp_path)

    for data, (images, labels) in zip(found, parts, strict=True):
        assert data.images.dtype == torch.uint8
        assert data.images.is_contiguous()
        np.testing.assert_array_equal(data.images.numpy(), images)
        assert data.labels.tolist() == labels.tolist()
        assert data.index.tolist() == list(range(len(data)))


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize(
    ("name", "classes"),
    [
        ("CIFAR10", tuple(NAMES[:10])),
        ("CIFAR100", tuple(NAMES)),
        ("SVHN", ()),
        ("MNIST", ("0 - zero", "1 - one", "2 - two", "3 - three")),
    ],
)
def test_torchvisions_class_names_are_kept(name, classes, tmp_path):
    WRITERS[name](tmp_path, name)

    for data in loaded(name, tmp_path):
        assert data.classes[: len(classes) if name != "MNIST" else 4] == classes


def test_these_tests_cover_every_built_in_data_set():
    parts = {"CIFAR10-5k", "CIFAR100-20", "FashionMNIST-2k"}

    assert {*BUILT_IN} == {"digits", "noisy-digits", *parts, *WRITERS}


@pytest.mark.parametrize("name", WRITERS)
def test_missing_files_without_a_network_give_a_one_line_error_with_a_remedy(
    name, tmp_path, monkeypatch, capfd
):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: (_ for _ in ()).throw(OSError("cut")))

    with pytest.raises(UserError) as error:
        from_torchvision(tmp_path, name=name)

    message = str(error.value)
    assert "\n" not in message
    assert f"{name} from --data {tmp_path}" in message
    assert "cut" in message
    assert "name the folder that contains them with --data" in message
    assert capfd.readouterr() == ("", "")


DAMAGES = {
    "empty": lambda _: b"",
    "cut off": lambda whole: whole[:-9],
    "too long": lambda whole: whole + b"x",
    "a web page": lambda _: b"<html>not found</html>",
}


def test_the_small_draw_of_a_set_has_the_same_distinct_images_each_time(tmp_path):
    (images, labels), _ = write_mnist(tmp_path, "MNIST")

    (train, test), (again, _) = (few_of(tmp_path, name="MNIST", train=7, test=3) for _ in "12")

    rows = [next(i for i in range(12) if np.array_equal(images[i], x)) for x in train.images]
    assert (len(set(rows)), len(test)) == (7, 3)
    assert rows == sorted(rows) != list(range(7))
    assert train.labels.tolist() == labels[rows].tolist()
    assert torch.equal(train.images, again.images)
    assert train.index.tolist() == list(range(7))


@pytest.mark.usefixtures("offline")
def test_some_classes_of_a_set_are_labelled_in_the_order_in_which_they_are_named(tmp_path):
    WRITERS["CIFAR100"](tmp_path, "CIFAR100")
    whole, whole_test = from_torchvision(tmp_path, name="CIFAR100")

    train, test = of_classes(tmp_path, name="CIFAR100", classes=("kind 7", "kind 2"))

    for part, every in ((train, whole), (test, whole_test)):
        rows = [row for row, label in enumerate(every.labels.tolist()) if label in (7, 2)]
        assert part.labels.tolist() == [{7: 0, 2: 1}[int(every.labels[row])] for row in rows]
        assert torch.equal(part.images, every.images[rows])
        assert part.classes == ("kind 7", "kind 2")


def test_the_reduced_cifar100_has_500_train_and_100_test_images_of_each_class(unpacked):
    root = unpacked("cifar100.webp.npz")
    whole, _ = loaded("CIFAR100", root)

    train, test = loaded("CIFAR100-20", root)

    assert torch.bincount(train.labels).tolist() == [500] * 20
    assert torch.bincount(test.labels).tolist() == [100] * 20
    first = whole.images[whole.labels == whole.classes.index("couch")][0]
    assert torch.equal(train.images[train.labels == train.classes.index("couch")][0], first)


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("name", ["SVHN", "CIFAR10-5k", "CIFAR100-20"])
def test_absent_files_without_a_network_are_one_line_that_says_where_to_put_them(name, tmp_path):
    with pytest.raises(UserError) as error:
        loaded(name, tmp_path)

    text = str(error.value)
    assert text.startswith(f"dataset {name!r}: torchvision can neither read {name.split('-')[0]} ")
    assert text.endswith("or name the folder that contains them with --data")
    assert "\n" not in text


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_also_a_user_error(damage, tmp_path):
    write_mnist(tmp_path, "MNIST")
    path = tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte"
    path.write_bytes(DAMAGES[damage](path.read_bytes()))

    with pytest.raises(UserError, match="can neither read MNIST"):
        loaded("MNIST", tmp_path)


@pytest.fixture(scope="module")
def unpacked(shared_data, tmp_path_factory):
    """Unpacks a real data set in torchvision's layout; removed after the tests of this file."""
    root = tmp_path_factory.mktemp("real")

    def unpack(name):
        pack = shared_data / name
        command = [sys.executable, shared_data / "unpack.py", pack, root]
        if name.endswith(".tar.xz"):
            command = ["tar", "xf", pack, "-C", root]
        subprocess.run(command, check=True, capture_output=True)
        return root

    yield unpack
    shutil.rmtree(root)


KNOWN = {
    "FashionMNIST": ("fashion-mnist-raw.tar.xz", (1, 28, 28), [9, 0, 0, 3, 0], [0.2860], [0.3530]),
    "CIFAR10": (
        "cifar10.webp.npz",
        (3, 32, 32),
        [6, 9, 9, 4, 1],
        [0.4914, 0.4822, 0.4465],
        [0.2470, 0.2435, 0.2616],
    ),
}


@pytest.mark.parametrize("name", KNOWN)
def test_real_files_give_the_well_known_statistics(unpacked, name):
    pack, shape, labels, mean, std = KNOWN[name]

    train, test = loaded(name, unpacked(pack))

    found = channel_statistics(train)
    assert train.shape == test.shape == shape
    assert train.labels[:5].tolist() == labels
    assert torch.bincount(train.labels).tolist() == [len(train) // 10] * 10
    assert torch.bincount(test.labels).tolist() == [1000] * 10
    assert found[0] == pytest.approx(mean, abs=6e-5)
    assert found[1] == pytest.approx(std, abs=6e-5)
