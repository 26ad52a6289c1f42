"""``unlearn measure``: measures the protocols that finished runs lack, without training."""

from __future__ import annotations

import argparse

import torch

from harness.commands import machine, plugins
from harness.commands.progress import Progress
from harness.commands.run import conclude, tell_unread
from harness.errors import UserError
from harness.records.store import Store
from harness.runs.measuring import plan_measurements
from harness.runs.pool import do_plan
from harness.runs.recording import record_definitions
from harness.runs.remaining import remaining
from harness.runs.workspace import Workspace
from harness.terminal import say


def execute(arguments: argparse.Namespace) -> int:
    """Measures; 1 where a protocol failed."""
    catalog = plugins.catalog(arguments.plugins)
    device = machine.device(arguments.device)
    means = machine.means(arguments, machine.workers(arguments))
    store = Store(arguments.store)
    if not store.root.is_dir():
        raise UserError(
            f"--store {arguments.store}: there is no such folder; `unlearn run` makes it"
        )
    workspace = Workspace(store, catalog, arguments.data, torch.device(device))
    plan = plan_measurements(workspace, say)
    progress = Progress(plan, workers=1)
    rest = remaining(plan, store)
    progress.tell_broken(rest)
    rest.discard_results(store)
    record_definitions(catalog.protocols.values(), store)
    outcome = do_plan(rest.plan, workspace, means, progress.report)
    print(f"measured {outcome.done.total()} of {len(plan.steps)}; {rest.present} already measured")
    return conclude(outcome) or tell_unread(rest)
