"""The store: results are written atomically, damage is found, and one process does each step."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from harness import UserError
from harness.records.store import CorruptionError, Store, StoreError

TENSORS = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(3)}


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "runs")


def test_a_result_is_read_back_as_it_was_written(store):
    store.write("models", "key", {"fact": [1, 2]}, TENSORS)

    entry = store.read("models", "key")

    assert entry.facts == {"fact": [1, 2]}
    assert all(torch.equal(entry.tensors[name], TENSORS[name]) for name in TENSORS)
    assert store.keys("models") == ["key"]


def test_channels_last_and_shared_tensors_can_be_written(store):
    weight = torch.rand(2, 3, 4, 4).to(memory_format=torch.channels_last)

    store.write("models", "key", {}, {"one": weight, "two": weight})

    assert torch.equal(store.read("models", "key").tensors["two"], weight)


@pytest.mark.parametrize("name", ["facts.json", "tensors.safetensors", "seal.json"])
@pytest.mark.parametrize("damage", ["truncate", "flip", "remove", "empty"])
def test_any_damage_to_any_file_is_found(store, name, damage):
    store.write("models", "key", {"fact": 1}, TENSORS)
    path = store.root / "models" / "key" / name
    content = path.read_bytes()
    if damage == "remove":
        path.unlink()
    else:
        flipped = content[:-9] + bytes([content[-9] ^ 1]) + content[-8:]
        path.write_bytes({"truncate": content[:-5], "flip": flipped, "empty": b""}[damage])

    exists = store.has("models", "key")

    assert exists == ((name, damage) != ("seal.json", "remove"))
    assert name in store.fault("models", "key") or "key" in store.fault("models", "key")
    with pytest.raises(CorruptionError):
        store.read("models", "key")


def test_a_corrupt_result_is_replaced_by_a_new_one(store):
    store.write("models", "key", {"fact": 1}, TENSORS)
    (store.root / "models" / "key" / "facts.json").write_text("{")

    store.write("models", "key", {"fact": 2}, None)

    assert store.read("models", "key").facts == {"fact": 2}


def test_the_draft_of_a_killed_process_does_no_harm(store):
    draft = store.root / "drafts" / "models-key"
    draft.mkdir(parents=True)
    (draft / "facts.json").write_text("half of")

    store.write("models", "key", {"fact": 1}, TENSORS)

    assert not store.fault("models", "key")
    assert not draft.exists()


def test_a_lock_has_one_holder_and_is_released_when_the_holder_is_killed(store):
    code = (
        "import sys, time; from pathlib import Path; from harness.records.store import Store\n"
        "with Store(Path(sys.argv[1])).lock('models', 'key') as mine:\n"
        "    print(mine, flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(store.root)], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout.readline().strip() == "True"

    with store.lock("models", "key") as mine_meanwhile, store.lock("models", "other") as other:
        pass
    holder.kill()
    holder.wait()
    holder.stdout.close()
    with store.lock("models", "key") as mine_after:
        pass

    assert (mine_meanwhile, other, mine_after) == (False, True, True)


def test_a_file_in_place_of_the_store_is_a_user_error(tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(UserError, match="is a file; expected a folder"):
        Store(tmp_path / "file")


def test_an_unwritable_store_is_a_user_error(tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(UserError, match="cannot write to --store"):
        Store(tmp_path / "file" / "below").open()


def test_reading_creates_no_folder(tmp_path):
    store = Store(tmp_path / "runs")

    assert store.keys("runs") == []
    assert not store.has("runs", "key")
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("seal", ["{}", "[]", "3", '{"facts.json": 1}'])
def test_a_seal_without_the_checksums_is_damage(store, seal):
    store.write("models", "key", {"fact": 1}, TENSORS)
    (store.root / "models" / "key" / "seal.json").write_text(seal)

    assert "seal.json" in store.fault("models", "key")
    with pytest.raises(CorruptionError):
        store.read("models", "key")


def test_a_folder_in_place_of_a_file_is_damage_that_can_be_discarded(store):
    store.write("models", "key", {"fact": 1}, TENSORS)
    seal = store.root / "models" / "key" / "seal.json"
    seal.unlink()
    seal.mkdir()

    assert "seal.json" in store.fault("models", "key")
    store.discard("models", "key")
    assert not store.has("models", "key")


def test_a_store_stays_where_it_was_when_the_working_directory_changes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = Store(Path("runs"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")

    store.write("models", "key", {}, None)

    assert (tmp_path / "runs" / "models" / "key").is_dir()


def test_a_result_that_cannot_be_written_is_a_store_error_and_leaves_nothing_behind(tmp_path):
    store = Store(tmp_path / "runs")
    store.open()
    (tmp_path / "runs" / "models").write_text("")

    with pytest.raises(StoreError, match="cannot write to --store"):
        store.write("models", "key", {}, TENSORS)
    assert not [*(tmp_path / "runs" / "drafts").iterdir()]
