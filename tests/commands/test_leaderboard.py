"""``unlearn leaderboard`` reports damaged records."""

from harness.cli import main


def test_a_damaged_record_is_reported_with_its_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    records = tmp_path / "leaderboards" / "records"
    records.mkdir(parents=True)
    (records / "s.jsonl").write_text("{\n")

    status = main(["leaderboard"])

    assert status == 2
    assert "s.jsonl, line 1: not a record" in capsys.readouterr().err
