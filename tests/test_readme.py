"""The README is true: its code and commands run, and its table is that of the page."""

import importlib
import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from harness.cli import main
from harness.leaderboard.publish import differing, files, literature, published

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BOARDS = ROOT / "leaderboards"
VERBS = {"list", "run", "tune", "measure", "leaderboard", "show", "doctor"}


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


ATTACK, PLUGIN, CONTRACT = blocks("python")


def table_rows(text):
    """The cells of every row of the Markdown tables in a text, without padding."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in rows if not set(row[0]) <= set(":-")]


def test_the_plugin_gets_a_row(unlearn, work):
    (work / "my_method.py").write_text(PLUGIN)

    status, _, err = unlearn("run", "my-method", "--scenario", "tiny", "-p", "my_method.py")
    unlearn("leaderboard")

    assert (status, err) == (0, "")
    assert "| my-method" in (work / "leaderboards" / "tiny.md").read_text()


def test_the_attack_gives_one_score_a_sample():
    rng = np.random.default_rng(0)
    arrays = {
        "labels": rng.integers(0, 3, 20),
        "target_logits": rng.normal(size=(20, 3)),
        "reference_logits": rng.normal(size=(4, 20, 3)),
    }

    exec(ATTACK, arrays)

    assert arrays["scores"].shape == (20,)


def test_the_plugin_has_as_many_lines_as_its_heading_says():
    lines = [line for line in PLUGIN.splitlines() if line.strip()]

    assert f"## A method in {len(lines)} lines" in README


def test_the_contract_check_is_two_lines_and_passes(work, monkeypatch):
    (work / "my_method_of_readme.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(work)
    module = importlib.import_module("my_method_of_readme")

    assert len(CONTRACT.splitlines()) == 2
    exec(CONTRACT, {"unlearning_methods": module.unlearning_methods})


def test_ci_runs_the_test_command_of_the_readme():
    commands = [line.strip() for line in README.splitlines() if "pip install tox &&" in line]

    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")

    assert [command.split()[-1] for command in commands] == ["leaderboard", "py"]
    assert commands[1] in script


PAGES = ("README.md", "CONTRIBUTING.md", "harness/README.md", "harness/NUMBERS.md")


def commands(page):
    """The words after ``unlearn`` of every command that a page shows."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found = re.findall(r"(?:`|^ {4,})unlearn ([^`\n]*)(?:`|$)", text, re.MULTILINE)
    return [shlex.split(words) for words in found]


COMMANDS = commands("README.md")
RUNS = [words for words in COMMANDS if words[0] == "run" and len(words) > 1]


@pytest.fixture
def plugins(work):
    """The plugin files that the commands name."""
    (work / "my_method.py").write_text(PLUGIN)
    (work / "my_protocol.py").write_text((ROOT / "harness/protocols/accuracy.py").read_text())


@pytest.mark.parametrize("words", [words for words in RUNS if "DIR" not in words], ids=" ".join)
def test_a_run_command_of_the_readme_without_data_can_be_planned(words, plugins, unlearn):
    status, out, err = unlearn(*words, "--dry-run", "--out", ROOT / "leaderboards")

    assert status == 0, err
    assert "would do" in out


@pytest.mark.parametrize("words", [words for words in RUNS if "DIR" in words], ids=" ".join)
def test_a_run_command_of_the_readme_with_data_reads_the_given_folder(words, work, unlearn):
    (work / "DIR").write_text("a file in its place, so that nothing is downloaded")

    status, _, err = unlearn(*words, "--dry-run")

    assert status == 2
    assert "--data DIR is a file; expected a folder" in err


def test_all_other_commands_of_the_readme_succeed(plugins, work, unlearn):
    protocol = work / "my_protocol.py"
    protocol.write_text(protocol.read_text().replace('"accuracy"', '"my-accuracy"'))
    unlearn("run", "finetune", "--scenario", "tiny")
    unlearn("leaderboard")
    records = (work / "leaderboards" / "records" / "tiny.jsonl").read_text().splitlines()
    run = next(line for line in map(json.loads, records) if line["kind"] == "run")
    instead = {"RUN_ID": run["run_id"], "digits-random10": "tiny-long"}

    failed = {}
    for words in (words for words in COMMANDS if words[0] != "run"):
        more = ["--trials", "3", "--workers", "1"] if words[0] == "tune" else []
        status, _, err = unlearn(*(instead.get(word, word) for word in words), *more)
        if status:
            failed[" ".join(words)] = err

    assert failed == {}
    assert {verb for verb, *_ in COMMANDS} == VERBS


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)])
def test_every_option_on_a_page_is_in_the_help_of_its_verb(page, capsys):
    shown = [(words[0], word) for words in commands(page) for word in words if word[:1] == "-"]
    helps = {}
    for verb in {verb for verb, _ in shown} & VERBS:
        assert main([verb, "--help"]) == 0
        helps[verb] = capsys.readouterr().out

    unknown = [(verb, word) for verb, word in shown if verb in VERBS and word not in helps[verb]]

    assert shown
    assert unknown == []


def test_the_gaps_of_the_couch_row_are_those_of_its_page():
    page = (BOARDS / "cifar100-20-couch-half.md").read_text(encoding="utf-8")
    rows = {
        cells[2].strip(): cells for line in page.splitlines() if len(cells := line.split("|")) > 9
    }

    for method, gap in {"amun": "1.84 ± 0.83", "local-teacher": "6.99 ± 4.00"}.items():
        assert rows[method][4].strip() == gap
        assert gap in README
    assert rows["retrain"][4].strip().startswith("1.45")


def test_the_committed_pages_match_the_committed_records():
    found = published(BOARDS, print)
    wanted = files(found.lines, found, literature(BOARDS))

    assert wanted["README.md"].count("digits-random10.md")
    assert differing(BOARDS, wanted) == []


def test_the_readmes_table_is_the_top_of_the_page():
    shown = table_rows(README.partition("<!-- table -->")[2].partition("<!-- /table -->")[0])
    page = table_rows((BOARDS / "digits-random10.md").read_text(encoding="utf-8"))
    columns = [page[0].index(title) for title in shown[0]]

    wanted = [[row[c] for c in columns] for row in page[: len(shown)]]

    assert shown == wanted, "copy it again with `tox -e front-page`"
    assert [row[1] for row in shown[1:3]] == ["original", "retrain"]
    assert sum(row[0].startswith(("1 ", "2 ", "3 ", "4 ", "5 ")) for row in shown) == 5
    assert "Note" in shown[0]  # why a row has no rank, or what more than others it may see


def anchors(path):
    """The anchors of a Markdown page: its headings, as GitHub converts them."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_to_an_existing_file_or_heading(page):
    text = (ROOT / page).read_text(encoding="utf-8")

    broken = []
    for target in re.findall(r"\]\(([^)]+)\)", text):
        file, _, anchor = target.partition("#")
        path = (ROOT / page).parent / file if file else ROOT / page
        if "://" not in target and not (path.exists() and (not anchor or anchor in anchors(path))):
            broken.append(target)

    assert broken == []


def test_the_picture_has_a_text_alternative():
    ((words, file),) = re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", README)

    assert file == "leaderboards/gaps.svg"
    for part in ("average gap", "95 % interval", "noise floor", "original"):
        assert part in " ".join(words.split())
