"""The lines that a store holds."""

from __future__ import annotations

from collections.abc import Callable, Collection

from harness.records.lines import Line, Measurement, Run, identity_of, merge
from harness.records.parsing import MALFORMED, line_of
from harness.records.store import CorruptionError, StepId, Store
from harness.records.versions import is_newer, newer_text

RUN, MEASUREMENT = "runs", "measurements"
UNDEFINED, FAILURE, DEFINITION = "undefined", "failures", "definitions"
KIND_OF_LINE = {
    RUN: "run",
    FAILURE: "run",
    MEASUREMENT: "measurement",
    UNDEFINED: "undefined",
    DEFINITION: "definition",
}
"""The kinds of the store that hold lines."""


def stored_lines(
    store: Store,
    report: Callable[[str], None],
    steps: Collection[StepId] | None = None,
) -> list[Line]:
    """The lines of a store's runs, failed ones too, or of these steps of it.

    A broken result, and those that a newer version wrote, are reported and left out.
    """
    found: list[Line] = []
    newer = 0
    for kind, of_line in KIND_OF_LINE.items():
        keys = store.keys(kind) if steps is None else [key for of, key in steps if of == kind]
        for key in keys:
            if steps is not None and not store.has(kind, key):
                continue
            try:
                fields = {"kind": of_line, **store.read(kind, key).facts["line"]}
                if is_newer(fields):
                    newer += 1
                else:
                    found.append(line_of(fields))
            except CorruptionError as error:
                report(f"left out: {error}; `unlearn run` rebuilds it")
            except MALFORMED as error:
                report(f"left out: {kind}/{key} is not a record ({type(error).__name__}: {error})")
    if newer:
        report(newer_text(newer, f"results of {store.root}"))
    there = {identity_of(line) for line in found if isinstance(line, Run)}
    return merge(
        line for line in found if not isinstance(line, Measurement) or identity_of(line) in there
    )
