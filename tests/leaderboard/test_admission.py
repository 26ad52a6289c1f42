"""Which rows enter a page's ranks: one a method, on the page's own replicates, without a fault."""

from dataclasses import replace

import pytest

from harness.leaderboard.admission import Entry, admit, page_replicates
from harness.records.lines import BY_HAND


def seeds(*numbers):
    return frozenset((number, number) for number in numbers)


TEN = seeds(*range(10))


def entry(key, replicates=TEN, *, method=None, chosen="", at="1", fault=""):
    gaps = {} if fault else dict.fromkeys(replicates, 1.0)
    return Entry(key, method or key, chosen, frozenset(replicates), gaps, fault, (at, key))


PAGE = [entry("a"), entry("b"), entry("c")]


class TestPageReplicates:
    @pytest.mark.parametrize(
        "newcomers",
        [
            [entry("new", seeds(0, 1, 2))],
            [entry("new", seeds(*range(6)))],
            [entry("new", seeds(*range(12)))],
            [entry("new", seeds(*range(100, 130)))],
            [entry(f"new-{i}", seeds(100, 101, 102)) for i in range(50)],
            [entry(f"hand-{i}", seeds(*range(20)), chosen=BY_HAND) for i in range(50)],
            [entry(f"bad-{i}", seeds(*range(20)), fault="failed: 1 of 20") for i in range(50)],
            [entry(f"t-{i}", seeds(*range(20)), method="one", chosen="tuned") for i in range(50)],
        ],
        ids=["few", "fewer", "more", "others", "many few", "by hand", "with faults", "one method"],
    )
    def test_are_those_of_most_methods_whoever_else_comes(self, newcomers):
        assert page_replicates([*PAGE, *newcomers]) == TEN
        assert page_replicates([*newcomers, *PAGE]) == TEN

    def test_of_equally_many_methods_are_the_larger_set_then_the_lower_seeds(self):
        larger = [entry("a"), entry("b", seeds(*range(50, 61)))]
        lower = [entry("a", seeds(*range(50, 60))), entry("b")]

        assert page_replicates(larger) == seeds(*range(50, 61))
        assert page_replicates(lower) == TEN

    def test_may_be_few_where_no_row_has_more(self):
        assert page_replicates([entry("a", seeds(0, 1)), entry("b", seeds(0))]) == seeds(0, 1)

    def test_are_none_where_no_row_has_a_gap(self):
        assert page_replicates([entry("a", fault="diverged: 10 of 10")]) == frozenset()
        assert page_replicates([]) == frozenset()


class TestAdmit:
    def test_takes_the_rows_that_have_the_pages_replicates_on_these_alone(self):
        more = entry("more", seeds(*range(12)))

        field = admit([*PAGE, more])

        assert field.replicates == TEN
        assert {*field.gaps} == {"a", "b", "c", "more"}
        assert {*field.gaps["more"]} == TEN
        assert field.reasons == {}

    def test_says_how_many_of_the_pages_replicates_a_row_has(self):
        field = admit([*PAGE, entry("few", seeds(0, 1, 2)), entry("elsewhere", seeds(100, 101))])

        assert field.reasons == {
            "few": "has 3 of the page's 10 replicates",
            "elsewhere": "has 0 of the page's 10 replicates",
        }

    def test_takes_a_methods_tuned_row_before_its_defaults(self):
        tuned = entry("m-tuned", method="m", chosen="tuned, 20 trials")
        default = entry("m-default", method="m", at="9")

        field = admit([*PAGE, default, tuned])

        assert "m-tuned" in field.gaps
        assert field.reasons == {"m-default": "the method enters with its tuned settings"}

    def test_takes_the_newer_of_two_rows_that_were_chosen_alike(self):
        old, new = (entry(f"m-{at}", method="m", chosen="tuned", at=at) for at in "12")

        field = admit([new, *PAGE, old])

        assert field.reasons == {"m-1": "the method enters with other settings"}

    def test_never_takes_settings_by_hand(self):
        by_hand = [entry(f"a-{i}", method="a", chosen=BY_HAND) for i in range(100)]
        alone = entry("alone", chosen=BY_HAND)

        field = admit([*by_hand, *PAGE, alone])

        assert {*field.gaps} == {"a", "b", "c"}
        assert {*field.reasons.values()} == {"set by hand"}

    def test_keeps_complete_defaults_while_a_tuned_row_is_still_being_made(self):
        begun = entry("a-tuned", seeds(0), method="a", chosen="tuned, 20 trials")

        field = admit([*PAGE, begun])

        assert "a" in field.gaps
        assert field.reasons == {"a-tuned": "has 1 of the page's 10 replicates"}

    def test_does_not_put_defaults_in_the_place_of_tuned_settings_that_failed(self):
        failed = entry("a-tuned", method="a", chosen="tuned", fault="failed: 1 of 10 (why)")

        field = admit([*PAGE, failed])

        assert {*field.gaps} == {"b", "c"}
        assert field.reasons == {
            "a": "the method enters with its tuned settings",
            "a-tuned": "failed: 1 of 10 (why)",
        }

    def test_leaves_out_a_row_with_a_fault_though_it_has_gaps_on_all_of_the_pages_replicates(self):
        odd = replace(entry("odd", seeds(*range(11))), fault="diverged: 1 of 11")

        field = admit([*PAGE, odd])

        assert field.reasons == {"odd": "diverged: 1 of 11"}

    def test_says_where_a_replicate_has_a_run_and_no_gap(self):
        unmeasured = entry("unmeasured")
        gaps = {at: gap for at, gap in unmeasured.gaps.items() if at != (3, 3)}

        field = admit([*PAGE, replace(unmeasured, gaps=gaps)])

        assert field.reasons == {"unmeasured": "no gap in 1 of the page's 10 replicates"}

    def test_of_rows_without_any_gap_takes_none(self):
        field = admit([replace(each, gaps={}) for each in PAGE])

        assert field.gaps == {}
        assert {*field.reasons.values()} == {"no gap"}
