"""``unlearn measure``: adds missing measurements to finished runs, without training."""

from __future__ import annotations

import argparse

import torch

from harness.commands import machine, plugins
from harness.commands.progress import Progress
from harness.commands.run import conclude, report_unread
from harness.errors import UserError
from harness.records.store import Store
from harness.records.store_lines import MEASUREMENT
from harness.runs.measuring import Request, plan_measurements
from harness.runs.pool import do_plan
from harness.runs.recording import record_definitions
from harness.runs.remaining import remaining
from harness.runs.workspace import Workspace
from harness.terminal import say


def execute(arguments: argparse.Namespace) -> int:
    """Measures what is missing; returns 1 if a protocol failed."""
    catalog = plugins.catalog(arguments.plugins)
    device = machine.device(arguments.device)
    resources = machine.resources(arguments, machine.workers(arguments))
    store = Store(arguments.store)
    if not store.root.is_dir():
        raise UserError(
            f"--store {arguments.store}: there is no such folder; `unlearn run` creates it"
        )
    workspace = Workspace(store, catalog, arguments.data, torch.device(device))
    request = Request(tuple(arguments.protocols), arguments.pool)
    plan = plan_measurements(workspace, say, request)
    progress = Progress(plan, workers=1)
    rest = remaining(plan, store)
    progress.report_broken(rest)
    rest.discard_results(store)
    record_definitions(catalog.protocols.values(), store)
    outcome = do_plan(rest.plan, workspace, resources, progress.report)
    planned = sum(step.id.kind == MEASUREMENT for step in plan.steps)
    left = sum(step.id.kind == MEASUREMENT for step in rest.plan.steps)
    done = outcome.done[MEASUREMENT]
    print(f"measured {done} of {planned}; {planned - left - rest.unread} already measured")
    return conclude(outcome) or report_unread(rest)
