"""The lines in a store."""

from __future__ import annotations

from collections.abc import Callable, Collection

from harness.records.json_lines import MALFORMED, line_of
from harness.records.lines import Line, Measurement, Run, identity_of, merge
from harness.records.store import CorruptionError, StepId, Store
from harness.records.versions import is_newer, newer_text

RUN, MEASUREMENT = "runs", "measurements"
UNDEFINED, FAILURE, DEFINITION = "undefined", "failures", "definitions"
PUBLISHED = "published"
KIND_OF_LINE = {
    RUN: "run",
    FAILURE: "run",
    MEASUREMENT: "measurement",
    UNDEFINED: "undefined",
    DEFINITION: "definition",
    PUBLISHED: "published",
}
"""The kinds of result that contain a line → the kind of that line."""


def stored_lines(
    store: Store,
    report: Callable[[str], None],
    steps: Collection[StepId] | None = None,
) -> list[Line]:
    """The lines in a store, including failed runs; with ``steps``, only the lines of these steps.

    Corrupt results, and results that a newer version wrote, are reported and left out.
    """
    found: list[Line] = []
    newer = 0
    for kind, line_kind in KIND_OF_LINE.items():
        keys = store.keys(kind) if steps is None else [key for of, key in steps if of == kind]
        for key in keys:
            if steps is not None and not store.has(kind, key):
                continue
            try:
                fields = {"kind": line_kind, **store.read(kind, key).facts["line"]}
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
    runs = {identity_of(line) for line in found if isinstance(line, Run)}
    return merge(
        line for line in found if not isinstance(line, Measurement) or identity_of(line) in runs
    )
