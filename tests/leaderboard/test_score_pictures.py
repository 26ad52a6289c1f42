"""The pictures of a page: what they show, in which order, and that they are valid files."""

import random
from xml.etree import ElementTree

from scored import scored, summary
from worlds import row, world

from harness.leaderboard.pages import MARK, render
from harness.specs.score_summary import FPRS

SVG = "{http://www.w3.org/2000/svg}"
CURVES = {"original": [1.0] * len(FPRS), "far": [0.0] * len(FPRS)}


def guesses(run):
    return summary(CURVES.get(run.method, FPRS))


def picture(found, name="s-attack.svg"):
    return ElementTree.fromstring(render(found)[name])


def panels(drawn):
    """Row → the points of its curve, in the order of the panels."""
    groups = [each for each in drawn.findall(f"{SVG}g") if each.find(f"{SVG}title") is not None]
    return {each.find(f"{SVG}title").text: points(each, "curve") for each in groups}


def points(within, class_):
    """The points of the only path of a class; none if there is no such path."""
    found = [each for each in within.iter(f"{SVG}path") if each.get("class") == class_]
    if not found:
        return None
    assert len(found) == 1
    steps = found[0].get("d").removeprefix("M").removesuffix("Z").split("L")
    return [tuple(map(float, step.split())) for step in steps]


def test_a_picture_is_marked_titled_and_described():
    found = scored(world({"near": 0}), guesses)
    text = render(found)["s-attack.svg"]

    drawn = ElementTree.fromstring(text)

    assert text.startswith(MARK)
    assert drawn.tag == f"{SVG}svg"
    assert drawn.get("role") == "img"
    named = {each.get("id"): each.text for each in drawn if each.get("id")}
    assert drawn.get("aria-labelledby").split() == ["title", "desc"]
    assert named["title"] == "attack on s: ROC and scores"
    assert "near: TPR 1.0 % at FPR 1 %; retrained models 1.0–1.0 %." in named["desc"]


def test_the_references_come_first_and_the_others_in_the_order_of_the_page():
    drawn = picture(scored(world({"far": 8, "near": 0}), guesses))

    curves = panels(drawn)

    assert [*curves] == ["original", "retrain", "near", "far"]
    assert {y for _, y in curves["original"]} == {44}
    assert {y for _, y in curves["far"]} == {188}  # a rate of 0, on the axis of 0.001
    assert curves["near"] == [(46 + 6 * i, 188 - 6 * i) for i in range(25)]


def test_the_band_spans_the_lowest_and_highest_rates_of_the_retrained_models():
    rates = {0: [0.01] * len(FPRS), 1: [0.1] * len(FPRS), 2: [0.05] * len(FPRS)}
    found = scored(
        world({"m": 0}), lambda run: summary(rates[run.draw] if run.method == "retrain" else FPRS)
    )

    band = points(picture(found), "band")

    assert band[:25] == [(46 + 6 * i, 92) for i in range(25)]
    assert band[25:] == [(190 - 6 * i, 140) for i in range(25)]


def test_without_scores_of_retrained_models_there_is_no_band():
    found = scored(world({"m": 0}), lambda run: summary() if run.method == "m" else None)

    drawn = picture(found)

    assert points(drawn, "band") is None
    assert [*panels(drawn)] == ["m"]
    assert "retrained" not in "".join(drawn.itertext())


def test_the_region_of_few_false_positives_ends_where_ten_are_expected():
    found = scored(world({"m": 0}), lambda _: summary(nonmembers={0: 100}))
    enough = scored(world({"m": 0}), lambda _: summary(nonmembers={0: 10_000}))

    regions = [
        [each for each in picture(lines).iter(f"{SVG}rect") if each.get("class") == "few"]
        for lines in (found, enough)
    ]

    assert [each.get("width") for each in regions[0]] == ["96.00", "24.00"]  # .1; the legend's
    assert regions[1] == []


def test_settings_of_any_kind_are_well_formed():
    every = world({"m": 0}) + row("m", 1, config={"mode": 'a<b>&"\x07' + "long" * 20})
    found = scored(every, guesses)

    names = [*panels(picture(found))]

    assert any(name.startswith('m (mode=a<b>&"?longlong') for name in names)


def test_pictures_do_not_depend_on_the_order_of_lines():
    rng = random.Random(0)
    found = scored(
        world({"near": 0, "far": 8}),
        lambda _: summary([rng.random()] * len(FPRS), members={rng.randrange(24): 7}),
    )
    shuffled = random.Random(1).sample(found, len(found))

    assert render(found) == render(shuffled)


def test_the_page_shows_each_picture_and_is_otherwise_what_it_is_without():
    every = world({"m": 0})
    found = scored(scored(every, guesses), guesses, protocol="other")

    with_scores, without = render(found), render(every)

    assert with_scores.keys() - without.keys() == {"s-attack.svg", "s-other.svg"}
    page = with_scores["s.md"]
    start, end = page.index("## Score distributions"), page.index("## Settings")
    assert page[:start] + page[end:] == without["s.md"]
    assert "![ROC and scores of attack](s-attack.svg)" in page[start:end]
    assert "![ROC and scores of other](s-other.svg)" in page[start:end]
    assert "TPR of 0 is drawn at 0.001" in page[start:end]
