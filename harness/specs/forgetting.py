"""The forget rules: which rows of the train set a scenario forgets."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from harness.specs.checks import PROPER_SHARE, Several, Whole, require_own_class, settle
from harness.specs.names import code
from harness.specs.row_numbers import Rows
from harness.specs.shares import draw_share, percent

if TYPE_CHECKING:
    import torch
    from torch import Tensor

RANDOM, CLASS, PARTIAL_CLASS, GIVEN = "random", "class", "partial-class", "given"
KINDS = frozenset({RANDOM, CLASS, PARTIAL_CLASS, GIVEN})
"""The kinds of forget set; each method lists those it is defined for."""

FORGET_STREAM = "forget"
"""The purpose of the stream from which a rule draws, seeded by the replicate's forget seed."""

LABEL = Whole(0)
NUMPY_SEED = Whole(0, 2**32 - 1)


@dataclass(frozen=True)
class ForgetRule(ABC):
    """Selects the rows to forget: derive a frozen dataclass with one field per setting.

    Settings are numbers, strings, booleans, None, or tuples of these: records must store them.
    """

    source: str = field(default="", kw_only=True, repr=False, metadata={"later": True})
    """The source hash of a plugin's rule, filled in by the harness; empty for a built-in rule."""

    kind: ClassVar[str]
    """One of ``KINDS``; each method lists those it is defined for."""

    @abstractmethod
    def select(self, labels: Tensor, members: Tensor, generator: torch.Generator) -> Tensor:
        """The rows to forget: at least one of ``members``, without repeats, int64.

        ``labels (n,)`` are the labels of the whole train set. ``members (m,)`` are the rows that
        may be forgotten: all rows except those held out. Use no randomness but the generator's.
        Raises ValueError if this data set has no such rows.
        """

    @abstractmethod
    def describe(self, classes: Sequence[str] = ()) -> str:
        """What is forgotten, to follow the word "forget": ``a random 10%``, ``class 3 (`cat`)``.

        ``classes`` are the class names of the data set, or empty if there are none or they are
        unknown.
        """

    @abstractmethod
    def substitute(self, labels: Tensor) -> ForgetRule:
        """The rule that tuning uses instead, so that no reported forget set is tuned on.

        ``labels (n,)`` are the labels of the train set. A rule that draws new rows for each
        replicate may return itself. Raises ValueError if there is no substitute.
        """

    def class_name(self, classes: Sequence[str]) -> str:
        """The name of the class that a built-in rule forgets; empty if it has none."""
        return ""

    def named(self, class_name: str) -> str:
        """The description, if only the name of the forgotten class is known."""
        return self.describe()


@dataclass(frozen=True)
class RandomFraction(ForgetRule):
    """Forget a share of the train set, drawn uniformly for each replicate."""

    fraction: float
    kind: ClassVar[str] = RANDOM

    def __post_init__(self) -> None:
        require_own_class(self, RandomFraction)
        settle(self, "RandomFraction", fraction=PROPER_SHARE)

    def select(self, labels: Tensor, members: Tensor, generator: torch.Generator) -> Tensor:
        """A uniform draw from the members."""
        return draw_share(members, self.fraction, generator)

    def describe(self, classes: Sequence[str] = ()) -> str:
        """For example ``a random 10%``."""
        return f"a random {percent(self.fraction)}"

    def substitute(self, labels: Tensor) -> ForgetRule:
        """The rule itself, because the replicates of tuning have their own seeds."""
        return self


class MissingClassError(ValueError):
    """The train set has no image of the class that a rule forgets."""

    def __init__(self, label: int) -> None:
        super().__init__(f"the train set has no image of class {label}")
        self.label = label


@dataclass(frozen=True)
class _OfClass(ForgetRule):
    """The shared part of rules that forget one class."""

    label: int

    def describe(self, classes: Sequence[str] = ()) -> str:
        """The class by number, and by name if the name is not just the number."""
        return self.named(self.class_name(classes))

    def class_name(self, classes: Sequence[str]) -> str:
        """The name of the label's class."""
        return classes[self.label] if self.label < len(classes) else ""

    def named(self, class_name: str) -> str:
        """For example ``class 3 (`cat`)``."""
        shown = f" ({code(class_name)})" if class_name not in ("", str(self.label)) else ""
        return f"class {self.label}{shown}"

    def _rows(self, labels: Tensor, members: Tensor) -> Tensor:
        """The members of the class; raises MissingClassError if the train set has none."""
        if self.label not in labels:
            raise MissingClassError(self.label)
        return members[labels[members] == self.label]

    def _other(self, labels: Tensor) -> int:
        """The next class that has images; the lowest class follows the highest."""
        others = {int(label) for label in labels.tolist()} - {self.label}
        if not others:
            raise ValueError(f"no class other than {self.label} has train images")
        return min(others, key=lambda label: (label < self.label, label))


@dataclass(frozen=True)
class WholeClass(_OfClass):
    """Forget every image with one label."""

    kind: ClassVar[str] = CLASS

    def __post_init__(self) -> None:
        require_own_class(self, WholeClass)
        settle(self, "WholeClass", label=LABEL)

    def select(self, labels: Tensor, members: Tensor, generator: torch.Generator) -> Tensor:
        """All members of the class."""
        return self._rows(labels, members)

    def substitute(self, labels: Tensor) -> ForgetRule:
        """Another class."""
        return WholeClass(self._other(labels))


@dataclass(frozen=True)
class _PartOfClass(_OfClass):
    """The shared part of rules that forget a share of one class."""

    fraction: float
    kind: ClassVar[str] = PARTIAL_CLASS

    def _settle(self, own: type[_PartOfClass]) -> None:
        require_own_class(self, own)
        settle(self, own.__name__, label=LABEL, fraction=PROPER_SHARE)


@dataclass(frozen=True)
class ClassFraction(_PartOfClass):
    """Forget a share of one class, drawn uniformly for each replicate."""

    def __post_init__(self) -> None:
        self._settle(ClassFraction)

    def select(self, labels: Tensor, members: Tensor, generator: torch.Generator) -> Tensor:
        """A uniform draw from the members of the class."""
        return draw_share(self._rows(labels, members), self.fraction, generator)

    def named(self, class_name: str) -> str:
        """For example ``10% of class 3 (`cat`)``."""
        return f"{percent(self.fraction)} of {super().named(class_name)}"

    def substitute(self, labels: Tensor) -> ForgetRule:
        """The same share of another class."""
        return ClassFraction(self._other(labels), self.fraction)


@dataclass(frozen=True)
class ClassFirst(_PartOfClass):
    """Forget the first images of one class in the data set's order, the same in every replicate.

    It is the forget set of Dolgova and Stich 2026, https://arxiv.org/abs/2605.31317.
    """

    def __post_init__(self) -> None:
        self._settle(ClassFirst)

    def select(self, labels: Tensor, members: Tensor, generator: torch.Generator) -> Tensor:
        """The first ``int(fraction × n)`` of the n members of the class."""
        rows = self._rows(labels, members).sort().values
        return rows[: int(self.fraction * len(rows))]

    def named(self, class_name: str) -> str:
        """For example ``the first 50% of class 25 (`couch`)``."""
        return f"the first {percent(self.fraction)} of {super().named(class_name)}"

    def substitute(self, labels: Tensor) -> ForgetRule:
        """The same share of another class."""
        return ClassFirst(self._other(labels), self.fraction)


@dataclass(frozen=True)
class GivenRows(ForgetRule):
    """Forget the given rows of the train set: any sequence of distinct whole numbers."""

    rows: tuple[int, ...]
    """In ascending order, however they were given."""
    kind: ClassVar[str] = GIVEN

    def __post_init__(self) -> None:
        require_own_class(self, GivenRows)
        settle(self, "GivenRows", rows=Rows())

    def select(self, labels: Tensor, members: Tensor, generator: torch.Generator) -> Tensor:
        """The given rows."""
        return members.new_tensor(self.rows)

    def describe(self, classes: Sequence[str] = ()) -> str:
        """For example ``20 given images``."""
        return f"{len(self.rows)} given images"

    def substitute(self, labels: Tensor) -> ForgetRule:
        """A random draw of as many rows."""
        return RandomFraction(len(self.rows) / len(labels))


@dataclass(frozen=True)
class NumpyDraw(ForgetRule):
    """Forget the rows that ``numpy.random.seed(s); numpy.random.choice(n, k, False)`` gives.

    Many papers publish their forget sets in this form; s is the replicate's forget seed. By
    default it is one of the seeds of AMUN's forget sets, https://github.com/Ali-E/AMUN.
    """

    fraction: float
    seeds: tuple[int, ...] = (1, 10, 100)
    """The forget seeds for which the rule is defined."""
    kind: ClassVar[str] = RANDOM

    def __post_init__(self) -> None:
        require_own_class(self, NumpyDraw)
        several = Several(NUMPY_SEED, "seeds", least=1, distinct=True)
        settle(self, "NumpyDraw", fraction=PROPER_SHARE, seeds=several)

    def select(self, labels: Tensor, members: Tensor, generator: torch.Generator) -> Tensor:
        """``k = int(fraction × n)`` of the n members; raises ValueError for another forget seed."""
        from numpy.random import RandomState  # noqa: PLC0415 - pages read rules without it

        from harness.seeds import derive  # noqa: PLC0415 - it imports torch

        of_stream = {derive(seed, FORGET_STREAM): seed for seed in self.seeds}
        seed = of_stream.get(generator.initial_seed())
        if seed is None:
            seeds = ", ".join(map(str, self.seeds))
            raise ValueError(
                f"it has forget sets for the forget seeds {seeds} alone; a scenario that crosses "
                f"them has crossed=({seeds})"
            )
        size = int(self.fraction * len(members))
        drawn = RandomState(seed).choice(len(members), size, replace=False)
        return members[members.new_tensor(drawn)]

    def describe(self, classes: Sequence[str] = ()) -> str:
        """For example ``a random 10% (NumPy seeds 1, 10, 100)``."""
        seeds = ", ".join(map(str, self.seeds))
        return f"a random {percent(self.fraction)} (NumPy seeds {seeds})"

    def substitute(self, labels: Tensor) -> ForgetRule:
        """A random draw of the same share, because tuning has seeds of its own."""
        return RandomFraction(self.fraction)


BUILT_IN: tuple[type[ForgetRule], ...] = (
    RandomFraction,
    WholeClass,
    ClassFraction,
    ClassFirst,
    GivenRows,
    NumpyDraw,
)
