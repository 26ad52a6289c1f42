"""The public API: what a plugin may import from the harness, as ``from harness import …``."""

from harness.errors import UserError
from harness.leaderboard.frame import load_results
from harness.plugins.hookspecs import hookimpl
from harness.specs.augmentation import Augmentation
from harness.specs.catalog import Backbone, Dataset
from harness.specs.configs import require_no_negative
from harness.specs.data import Data, as_float, join
from harness.specs.evidence import (
    Cost,
    Ensembles,
    Evidence,
    Labels,
    Outputs,
    References,
    Replays,
)
from harness.specs.fine_tuning import FineTuning, Training
from harness.specs.forgetting import (
    ClassFirst,
    ClassFraction,
    ForgetRule,
    GivenRows,
    NumpyDraw,
    RandomFraction,
    WholeClass,
)
from harness.specs.method import Method, Task
from harness.specs.named_recipe import NamedRecipe
from harness.specs.part import ALWAYS, NEVER, WITH_RETAIN, WITHOUT_RETAIN, only_with
from harness.specs.protocol import Estimate, Metric, Protocol
from harness.specs.published import Column, Paper, Printed, Published
from harness.specs.scenario import Recipe, Replicate, Scenario, Schedule, Suite
from harness.specs.score_summary import ScoreSummary
from harness.specs.search import Choice, Span
from harness.training.loop import Batch, batches, cross_entropy, fine_tune, predict, train
from harness.version import __version__

__all__ = [
    "ALWAYS",
    "NEVER",
    "WITHOUT_RETAIN",
    "WITH_RETAIN",
    "Augmentation",
    "Backbone",
    "Batch",
    "Choice",
    "ClassFirst",
    "ClassFraction",
    "Column",
    "Cost",
    "Data",
    "Dataset",
    "Ensembles",
    "Estimate",
    "Evidence",
    "FineTuning",
    "ForgetRule",
    "GivenRows",
    "Labels",
    "Method",
    "Metric",
    "NamedRecipe",
    "NumpyDraw",
    "Outputs",
    "Paper",
    "Printed",
    "Protocol",
    "Published",
    "RandomFraction",
    "Recipe",
    "References",
    "Replays",
    "Replicate",
    "Scenario",
    "Schedule",
    "ScoreSummary",
    "Span",
    "Suite",
    "Task",
    "Training",
    "UserError",
    "WholeClass",
    "__version__",
    "as_float",
    "batches",
    "cross_entropy",
    "fine_tune",
    "hookimpl",
    "join",
    "load_results",
    "only_with",
    "predict",
    "require_no_negative",
    "train",
]
