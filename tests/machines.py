"""Lines of runs as several machines leave them, each beside references of its own."""

import dataclasses

from harness import Cost, Estimate, RandomFraction, Recipe, Scenario
from harness.records import Measurement, Run, identity, plain

SCENARIO = Scenario("s", "d", "b", Recipe(1, 0.1), RandomFraction(0.1))
NAMES = ("forget", "retain", "test")
FORGET = {"retrain": 80, "original": 100}


def run(method, seed, *, machine="home", draw=0, source="x", at="1", **changes):
    """A run of a machine whose retrained models and original are its own."""
    run_id = identity([method, seed, draw, source, changes.get("scenario")])
    retrained = tuple(f"{machine}-{seed}-{k}" for k in range(3))
    own = retrained[draw] if method == "retrain" else f"{machine}-{method}-{seed}-{source}"
    line = Run(
        run_id=run_id,
        scenario={**plain(SCENARIO), "data": "hash"},
        replicate={"seed": seed, "forget_seed": seed},
        method=method,
        config={},
        draw=draw,
        source="" if method in FORGET else source,
        status="finished",
        circumstances={
            "device": "cpu",
            "hardware": machine,
            "threads": 1,
            "packages": {"torch": "2"},
            "commit": "c",
            "finished": at,
        },
        cost=Cost({"train": 10.0 if method == "retrain" else 1.0}, 100.0),
        digest=own,
        original=f"{machine}-original-{seed}-x",
        retrained=retrained,
    )
    return dataclasses.replace(line, **changes)


def measured(line, forget):
    """The run with its measurements; its other metrics are its references'."""
    found = {"forget": forget, "retain": 100, "test": 80}
    return [
        line,
        Measurement(
            line.run_id,
            "accuracy",
            1,
            {name: Estimate(float(found[name])) for name in NAMES},
            line.outcome,
        ),
        Measurement(line.run_id, "loss-mia", 1, {"auc": Estimate(50.0)}, line.outcome),
    ]


def references(seeds, *, machine="home", forget=80, at="1", **changes):
    """Original and retrained models of some replicates."""
    return [
        line
        for seed in seeds
        for name, draw in (("original", 0), *(("retrain", draw) for draw in range(3)))
        for line in measured(
            run(name, seed, machine=machine, draw=draw, at=at, **changes),
            forget if name == "retrain" else 100,
        )
    ]


def rows(method, seeds, forget, **changes):
    return [line for seed in seeds for line in measured(run(method, seed, **changes), forget)]
