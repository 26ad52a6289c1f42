"""An attack that is too uncertain, or not measured, gives way to another in the average gap."""

import dataclasses

import pytest
from pooled import DEFINITIONS, ft, of_mia, page_of, small_world
from worlds import cells, references, row, row_of

import harness
from harness import Replicate
from harness.leaderboard.publish import files, publish
from harness.leaderboard.table import tables
from harness.records.lines import Run

MIA = "rmia.ft-auc"
AUCS = {"original": 62, "retrain": 50, "near": 51, "middle": 52, "far": 47}
# over 8 replicates that swing by ± d the 95 % interval's half-width is 2.365 d √(8/7) / √8
WIDE, NARROW = ((-swing, swing) for swing in (3.4, 3.3))


def page_world(swing=NARROW, n=8, **fields):
    found = of_mia([*small_world(n), *DEFINITIONS], MIA)
    return [*found, *ft(found, AUCS, swing=swing, **fields)]


def test_a_certain_ft_auc_counts():
    table = tables(page_world())[0]

    assert table.stand_in is None
    assert table.components[-1] == MIA
    assert row_of(table, "near").rank is not None
    assert "tand-in" not in page_of(page_world())


def test_an_uncertain_ft_auc_gives_way_and_the_page_says_to_which_and_why():
    table, page = tables(page_world(WIDE))[0], page_of(page_world(WIDE))

    assert table.components[-1] == "loss-mia.auc"
    assert "loss-mia.auc (%)" in cells(page, "near")
    assert row_of(table, "near").rank is not None
    assert (
        "**Stand-in**: The attack of this scenario is `rmia.ft-auc`, but the 95 % interval of the "
        "retrained models' mean of it is ± 3.04 points wide, and an attack counts up to ± 3. In "
        "the average gap, `loss-mia.auc` stands in for it."
    ) in page


def test_the_gaps_are_those_of_the_stand_in():
    found = page_world(WIDE)

    with_stand_in, asked = tables(found)[0], tables(of_mia(found, "loss-mia.auc"))[0]

    assert with_stand_in.gaps == asked.gaps
    assert asked.stand_in is None


def test_only_what_all_runs_have_can_stand_in():
    found = [x for x in page_world(WIDE) if getattr(x, "protocol", "") != "loss-mia"]
    svc = dict.fromkeys(AUCS, 10)
    found += [
        dataclasses.replace(x, estimates={"svc": x.estimates["ft-auc"]}, pool=None)
        for x in ft(found, svc, protocol="confidence-mia")
    ]

    assert tables(found)[0].components[-1] == "confidence-mia.svc"


def test_without_a_stand_in_the_attack_counts_and_the_page_says_so():
    found = [x for x in page_world(WIDE) if getattr(x, "protocol", "") != "loss-mia"]

    assert tables(found)[0].components[-1] == MIA
    assert "**No stand-in**: The attack of this scenario is `rmia.ft-auc`, but" in page_of(found)


def test_an_attack_that_no_run_has_a_value_of_gives_way():
    found = of_mia([*small_world(), *DEFINITIONS], MIA)

    assert tables(found)[0].components[-1] == "loss-mia.auc"
    assert "is `rmia.ft-auc`, but no run has a value of it." in page_of(found)


def test_any_other_attack_counts_however_uncertain_it_is():
    found = of_mia(page_world((-20, 20)), "loss-mia.auc")

    assert tables(found)[0].stand_in is None


def test_a_single_replicate_is_judged_by_its_own_interval():
    outcomes = [tables(page_world(n=1, half=half))[0].stand_in for half in (2.9, 3.1)]

    assert outcomes[0] is None
    assert "± 3.10 points" in outcomes[1].reason


def test_replicates_that_tell_of_no_interval_are_too_uncertain():
    found = [
        dataclasses.replace(x, replicate=Replicate(0, x.replicate.seed))
        if isinstance(x, Run)
        else x
        for x in page_world(n=3)
    ]

    assert tables(found)[0].stand_in.reason.startswith("nothing tells how certain")


def test_replicates_beyond_the_pages_own_do_not_change_the_attack():
    found = page_world(WIDE)
    more = of_mia([*references(range(8, 60)), *row("new", 1, seeds=range(8, 14))], MIA)

    with_more = tables([*found, *more, *ft(more, {**AUCS, "new": 50}, swing=(0.0,))])[0]

    assert with_more.components == tables(found)[0].components
    assert with_more.gaps == tables(found)[0].gaps


@pytest.mark.parametrize(("swing", "attack"), [(NARROW, MIA), (WIDE, "loss-mia.auc")])
def test_the_frame_marks_the_attack_that_counts(tmp_path, swing, attack):
    wanted = files(page_world(swing))
    publish(tmp_path, wanted, wanted)

    frame = harness.load_results(tmp_path)

    counted = {*frame[frame.counts_in_gap].metric}
    assert counted == {"accuracy.forget", "accuracy.retain", "accuracy.test", attack}
