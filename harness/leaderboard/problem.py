"""A scenario in words: what is forgotten, on which data, and how models are trained. Pure."""

from __future__ import annotations

from harness.specs.scenario import Scenario
from harness.specs.shares import percent


def task(scenario: Scenario, class_name: str = "") -> str:
    """What is forgotten, and what a method may see of the rest."""
    what = f"Forget {scenario.forget.named(class_name)}"
    access = scenario.retain_access
    if access == 1:
        return what
    return f"{what}, {'without' if access == 0 else f'with {percent(access)} of'} the retain set"


def problem(scenario: Scenario, class_name: str = "") -> str:
    """The task, the data, the backbone and how models are trained."""
    recipe = scenario.recipe
    return (
        f"{task(scenario, class_name)}. Data set `{scenario.dataset}`, backbone "
        f"`{scenario.backbone}` (stem: {scenario.stem}), trained for {recipe.epochs} epochs "
        f"({recipe.schedule}, lr {recipe.lr}, batch {recipe.batch}).{_fine_tuning(scenario)}"
    )


def _fine_tuning(scenario: Scenario) -> str:
    """What methods inherit, if that is not the recipe of the models."""
    own = scenario.fine_tuning
    if own is None:
        return ""
    return (
        f" Methods fine-tune with {own.optimizer}, batch {own.batch}, momentum {own.momentum} and "
        f"weight decay {own.weight_decay:g}, unless they say otherwise."
    )
