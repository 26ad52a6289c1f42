"""The public API: what a plugin may import from the harness, as ``from harness import …``."""

from harness.configs import require_no_negative
from harness.data import Augmentation, Data, as_float, join
from harness.errors import UserError
from harness.evidence import Cost, Estimate, Evidence, Labels, Metric, Outputs, Protocol
from harness.forgetting import ClassFraction, GivenRows, RandomFraction, WholeClass
from harness.hookspecs import hookimpl
from harness.search import Choice, Span
from harness.specs import (
    Backbone,
    Dataset,
    FineTuning,
    Method,
    Recipe,
    Replicate,
    Scenario,
    Suite,
    Task,
)
from harness.training import Batch, batches, cross_entropy, fine_tune, predict, train
from harness.version import __version__

__all__ = [
    "Augmentation",
    "Backbone",
    "Batch",
    "Choice",
    "ClassFraction",
    "Cost",
    "Data",
    "Dataset",
    "Estimate",
    "Evidence",
    "FineTuning",
    "GivenRows",
    "Labels",
    "Method",
    "Metric",
    "Outputs",
    "Protocol",
    "RandomFraction",
    "Recipe",
    "Replicate",
    "Scenario",
    "Span",
    "Suite",
    "Task",
    "UserError",
    "WholeClass",
    "__version__",
    "as_float",
    "batches",
    "cross_entropy",
    "fine_tune",
    "hookimpl",
    "join",
    "predict",
    "require_no_negative",
    "train",
]
