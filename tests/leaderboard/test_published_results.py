"""A method's page shows what papers and a catalogue print of it."""

from pathlib import Path

from printed import published, put
from worlds import world

from harness.leaderboard.pages import render
from harness.leaderboard.publish import literature
from harness.records.literature import Literature

BOARDS = Path(__file__).parents[2] / "leaderboards"


def test_a_method_has_a_line_for_each_table_that_prints_it():
    page = render(world({"m": 4}), Literature((published(),)))["m.md"]

    found = (
        "| [net, a tenth at random](s.md) | Pictures | Forget (%) 84 ± 0.10, Gap 0.30 ± 0.10 "
        "(recomputed 1.25), n = 5; [p-1](https://example.org/p), T1 (published) | – |"
    )
    assert found in page.partition("## Published")[2]
    assert "average gap" in page.partition("## Published")[0]


def test_a_table_without_a_page_is_not_linked():
    page = render(world({"m": 4}), Literature((published(scenarios={"t": ""}),)))["m.md"]

    assert "\n| net, a tenth at random | Pictures |" in page


def test_a_catalogues_rows_stand_as_they_are_printed(tmp_path):
    put(tmp_path / "published")

    page = render([], literature(tmp_path))["m.md"]

    assert "| [Forget x](n.md) | D | UA 84.0 (published) | 8 |" in page
    assert "| [Forget y](s.md) | D | no value (published) | 45 |" in page
    assert "\nA remark.\n" in page
    assert "average gap" not in page  # no run of ours


def test_a_method_that_no_table_prints_has_no_such_section():
    pages = render(world({"m": 4, "other": 1}), Literature((published(),)))

    assert "Published" not in pages["other.md"]


def test_amuns_page_has_the_rows_of_the_catalogue():
    page = (BOARDS / "amun.md").read_text(encoding="utf-8")

    cifar = "cifar100-class"
    for task, scenario, data, result, rank in (
        ("CIFAR-100 class-fraction-to-forget = 0.5", f"{cifar}25-half", "CIFAR-100", "UA 67.4", 8),
        ("CIFAR-100 90 % class deletion", f"{cifar}25-90", "CIFAR-100", "UA 32.5", 8),
        ("CIFAR-100 50 % of class 52 (oak_tree)", f"{cifar}52-half", "CIFAR-100", "UA 68.2", 8),
        ("CIFAR-100 apple class, 50 %", f"{cifar}0-half", "CIFAR-100", "UA 88.0", 8),
        ("CIFAR-100 apple class, 50 %", f"{cifar}0-half", "CIFAR-100", "RA 94.3", 8),
        ("CIFAR-100 50 % of class 36 (hamster)", f"{cifar}36-half", "CIFAR-100", "UA 82.8", 8),
        ("CIFAR-100 50 % of class 68 (road)", f"{cifar}68-half", "CIFAR-100", "UA 92.8", 8),
        ("CIFAR-100 class 73 (shark) 50 %", f"{cifar}73-half", "CIFAR-100", "UA 67.9", 8),
        ("SVHN", "svhn-class9-90", "SVHN", "UA 57", 8),
        ("CIFAR-100 (test)", "cifar100-random10", "CIFAR-100", "no value", 45),
    ):
        assert f"| [{task}]({scenario}.md) | {data} | {result} (published) | {rank} |\n" in page
    assert page.count("UA is accuracy on the forget set") == 1
    assert page.count("most likely the number of rows of each published table") == 1


def test_the_catalogues_values_are_those_of_the_paper():
    found = literature(BOARDS)
    metrics = {"UA": "forget_accuracy", "RA": "retain_accuracy"}

    for row in (row for row in found.catalogue if row.value):
        (table,) = (table for table in found.tables if row.scenario in table.scenarios)
        key = next(name for name, ours in table.methods.items() if row.method in ours)
        (number,) = (x for x in table.numbers if (x.method, x.metric) == (key, metrics[row.metric]))

        assert float(row.value) == number.value


def test_amuns_page_has_what_its_own_paper_prints():
    page = (BOARDS / "amun.md").read_text(encoding="utf-8")

    for result in (
        "Average gap 0.62 ± 0.05 (recomputed 0.61)",
        "Average gap 0.33 ± 0.03 (recomputed 0.57)",
        "Average gap 1.94 ± 0.13 (recomputed 1.91)",
    ):
        assert result in page
