"""Recipes with a name, which a command can give to any scenario."""

from __future__ import annotations

from dataclasses import dataclass

from harness.specs.checks import Exactly, Text, settle
from harness.specs.names import check_name
from harness.specs.scenario import Recipe

OPTIMIZERS = {"sgd": "SGD", "adamw": "AdamW"}


@dataclass(frozen=True)
class NamedRecipe:
    """A recipe that ``--recipe`` selects by its name."""

    name: str
    recipe: Recipe
    """It must train: at least 1 epoch, at a rate above 0."""
    paper: str = ""

    def __post_init__(self) -> None:
        check_name("recipe", self.name)
        what = f"recipe {self.name!r}"
        settle(self, what, recipe=Exactly((Recipe,)), paper=Text(empty=True))
        if self.recipe.epochs == 0 or self.recipe.lr == 0:
            raise ValueError(
                f"{what}: it must train for at least 1 epoch at a rate above 0; "
                f"got epochs {self.recipe.epochs} and lr {self.recipe.lr:g}"
            )

    def describe(self) -> str:
        """The recipe in words, as in ``30 epochs, SGD, lr 0.1 (cosine), batch 128, …``."""
        recipe = self.recipe
        schedule: str = recipe.schedule
        if recipe.schedule == "step":
            schedule = f"times {recipe.gamma:g} every {recipe.step_size} epochs"
        augmentation = [name for name in ("crop", "flip") if getattr(recipe.augmentation, name)]
        parts = [
            f"{recipe.epochs} epoch" + "s" * (recipe.epochs != 1),
            OPTIMIZERS[recipe.optimizer] + " with Nesterov" * recipe.nesterov,
            f"lr {recipe.lr:g} ({schedule})",
            f"batch {recipe.batch}",
            f"momentum {recipe.momentum:g}",
            f"weight decay {recipe.weight_decay:g}",
            " and ".join(augmentation) or "no augmentation",
        ]
        return ", ".join(parts)
