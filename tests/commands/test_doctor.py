"""``unlearn doctor`` reports what is installed, and what is wrong with it."""

from harness.cli import main


def test_a_path_may_contain_two_dots(tmp_path, monkeypatch, capsys):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    status = main(["doctor", "--store", "../there/../other"])

    assert status == 0
    assert "0 runs in ../there/../other" in capsys.readouterr().out


def test_the_doctor_lists_what_is_installed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    status = main(["doctor"])

    out = capsys.readouterr().out
    assert status == 0, out
    assert "torch" in out
    assert "no fault found" in out


def test_the_doctor_counts_no_folder_that_a_failed_download_left_empty(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data/FashionMNIST/raw").mkdir(parents=True)
    (tmp_path / "data/MNIST/raw").mkdir(parents=True)
    (tmp_path / "data/MNIST/raw/train-images-idx3-ubyte").write_bytes(b"x")

    main(["doctor"])

    out = capsys.readouterr().out
    assert " MNIST in data" in out
    assert "FashionMNIST" not in out


def test_the_doctor_reports_a_failed_plugin_and_a_conflicting_package(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.syspath_prepend(tmp_path)
    info = tmp_path / "other_harness-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other-harness\nVersion: 1.0\n")
    (info / "top_level.txt").write_text("harness\n")
    (info / "entry_points.txt").write_text("[unlearning]\nplugin = no_such_module\n")

    status = main(["doctor"])

    out = capsys.readouterr().out
    assert status == 1
    assert "'harness' is also installed by other-harness" in out
    assert "other-harness:plugin is left out: its import failed" in out
