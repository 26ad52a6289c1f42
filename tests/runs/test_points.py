"""The first trials: the defaults, cheaper ones if needed, and points around them."""

from dataclasses import dataclass

from harness import Choice, Span
from harness.records.tuned import OVER, Trial
from harness.runs.points import defaults, next_point, outside


@dataclass(frozen=True)
class Config:
    epochs: int = 4
    lr: float = 0.06
    gamma: float = 1e-3
    ratio: float = 0.5


SPACE = {
    "epochs": Span(1, 4),
    "lr": Span(1e-3, 0.1, log=True),
    "gamma": Span(1e-4, 1.0, log=True),
    "ratio": Span(0.1, 0.9),
}


def points(space, config, over=()):
    """All first points, if the trials of these numbers exceed the budget."""
    trials = []
    while (point := next_point(space, config, trials)) is not None:
        exceeds = len(trials) in over
        trials.append(Trial(point, None if exceeds else 1.0, 1.0, OVER if exceeds else ""))
    return [trial.settings for trial in trials]


def test_points_differ_from_the_defaults_in_one_logarithmic_setting():
    found = points(SPACE, Config())

    start = {"epochs": 4, "lr": 0.06, "gamma": 1e-3, "ratio": 0.5}
    assert found == [
        start,
        {**start, "lr": 0.02},
        {**start, "lr": 0.1},  # three times it lies beyond the span
        {**start, "gamma": 0.0003333},
        {**start, "gamma": 0.003},
    ]


def test_defaults_beyond_the_budget_are_made_cheaper_twice_at_most():
    once = points(SPACE, Config(), over={0})
    always = points(SPACE, Config(), over=range(9))

    assert [point["epochs"] for point in once] == [4, 2, 2, 2, 2]
    assert [point["epochs"] for point in always] == [4, 2, 1, 1, 1]
    assert [point["lr"] for point in once] == [0.06, 0.06, 0.02, 0.1, 0.06]


def test_a_default_outside_its_span_is_replaced_by_the_nearest_value_and_named():
    config = Config(epochs=9, lr=0.5)

    assert defaults(SPACE, config) == {"epochs": 4, "lr": 0.1, "gamma": 1e-3, "ratio": 0.5}
    assert [*outside(SPACE, config)] == [
        "the default epochs=9 lies outside its search space; 4 takes its place",
        "the default lr=0.5 lies outside its search space; 0.1 takes its place",
    ]
    assert not [*outside(SPACE, Config())]


def test_whole_numbers_stay_whole_and_a_point_occurs_once():
    space = {"epochs": Span(1, 30, log=True), "ratio": Choice((0.25, 0.75))}

    assert points(space, Config(epochs=1)) == [
        {"epochs": 1, "ratio": 0.25},
        {"epochs": 3, "ratio": 0.25},
    ]
