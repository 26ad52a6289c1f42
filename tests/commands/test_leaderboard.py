"""``unlearn leaderboard`` reports damaged records and removed pages."""

from printed import FILES, put

from harness.cli import main


def test_a_damaged_record_is_reported_with_its_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    records = tmp_path / "leaderboards" / "records"
    records.mkdir(parents=True)
    (records / "s.jsonl").write_text("{\n")

    status = main(["leaderboard"])

    assert status == 2
    assert "s.jsonl, line 1: not a record" in capsys.readouterr().err


def test_a_page_that_an_edited_scenario_leaves_without_a_run_is_reported(unlearn, finished, work):
    unlearn("leaderboard")
    plugin = work / "tiny_plugin.py"
    plugin.write_text(plugin.read_text().replace("tuning=0.5", "tuning=0.25"))
    unlearn("run", "finetune", "--scenario", "tiny")

    status, _, err = unlearn("leaderboard")

    removed = "unlearn: removed leaderboards/random-labels.md: no page shows a run of it"
    assert status == 0
    assert removed in err
    assert not (work / "leaderboards" / "random-labels.md").exists()
    assert (work / "leaderboards" / "records" / "tiny.jsonl").read_text().count("random-labels")


def test_an_edited_published_number_is_found_by_the_check(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    folder = put(tmp_path / "leaderboards" / "published")

    rendered = main(["leaderboard"]), main(["leaderboard", "--check"])
    put(folder, p_1=FILES["p-1"].replace("3.90", "3.80"))
    capsys.readouterr()
    status = main(["leaderboard", "--check"])

    assert rendered == (0, 0)
    assert status == 1
    changed = [line.split(" ")[0] for line in capsys.readouterr().out.splitlines()]
    assert changed == ["leaderboards/m.md", "leaderboards/n.md", "leaderboards/s.md"]
