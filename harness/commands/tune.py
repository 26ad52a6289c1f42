"""``unlearn tune``: chooses settings for one scenario, by as many trials for every method."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path

import torch

from harness.commands import options
from harness.plugins import load_catalog
from harness.request import Request, wanted_methods, wanted_scenarios
from harness.specs import Catalog, Method
from harness.tuned import FOLDER, Tuning, Unread, read, write
from harness.tuning import Ground, tune

NAME, HELP = "tune", "choose settings by trials on models and images that no page reports"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    parser.add_argument("methods", nargs="*", metavar="METHOD", help="default: all")
    parser.add_argument("--scenario", required=True, metavar="NAME")
    parser.add_argument(
        "--trials", type=options.whole(1, 10_000), default=20, metavar="N", help="default: 20"
    )
    parser.add_argument(
        "--replicates",
        type=options.whole(1, 100),
        default=1,
        metavar="N",
        help="original models that each trial is judged on (default: 1)",
    )
    options.add_derivation(parser)
    parser.add_argument(
        "--workers", type=options.whole(1, 256), default=None, metavar="N", help="processes"
    )
    options.add_out(
        parser, "in whose tuned/ the settings are written, where `unlearn run` reads them"
    )
    options.add_device(parser)
    options.add_store(parser)
    options.add_plugins(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Tunes; writes the file of chosen settings whenever a method is done."""
    catalog = options.catalog(arguments.plugins)
    request = _request(arguments)
    scenario = wanted_scenarios(request, catalog)[0][0]
    folder = options.folder("--out", arguments.out) / FOLDER
    _check(folder, scenario.name)
    methods = [each.name for each in _searchable(request, catalog)]
    if not methods:
        return 0
    count = min(options.workers(arguments), len(methods))
    request = replace(request, threads=options.threads(count))
    _prepare(request, catalog, arguments.replicates)  # also tells what is wrong, in one line
    failed = False
    for name, tuning in _tuned(methods, request, arguments, count):
        best = tuning.best
        if best is None:
            failed = True
            print(f"unlearn: {name}: no trial succeeded: {tuning.trials[-1].note}", file=sys.stderr)
            continue
        write(folder, scenario.name, {name: tuning})
        settings = ", ".join(
            f"{key}={value:.4g}" if isinstance(value, float) else f"{key}={value}"
            for key, value in best.settings.items()
        )
        print(f"{name}: average gap {best.gap:.2f} with {settings} ({tuning})", flush=True)
    return 1 if failed else 0


def _check(folder: Path, scenario: str) -> None:
    """Tells what stands in the way of the file before anything is tried, and what is kept of it."""
    for name, tuning in read(folder, scenario).items():
        if isinstance(tuning, Unread):
            print(f"unlearn: {folder / scenario}.json: {name}: {tuning.reason}", file=sys.stderr)
    write(folder, scenario, {})


def _request(arguments: argparse.Namespace) -> Request:
    return Request(
        methods=tuple(arguments.methods),
        scenarios=(arguments.scenario,),
        backbone=arguments.backbone,
        dataset=arguments.dataset,
        plugins=tuple(arguments.plugins),
        device=options.device(arguments.device),
        store=arguments.store,
        data=str(options.folder("--data", arguments.data)),
    )


def _searchable(request: Request, catalog: Catalog) -> Iterator[Method]:
    """The methods that there is something to choose for; the others are told."""
    scenario = wanted_scenarios(request, catalog)[0][0]
    for method in wanted_methods(request, catalog):
        reason = method.undefined_because(scenario)
        if not reason and not method.search:
            reason = "has no search space and runs at its defaults"
        if reason:
            print(f"skipped: {method.name}: {reason}")
        else:
            yield method


def _prepare(request: Request, catalog: Catalog, replicates: int) -> Ground:
    device = torch.device(request.device)
    if device.type == "cpu":
        torch.set_num_threads(request.threads)
    return Ground.prepare(
        wanted_scenarios(request, catalog)[0][0],
        catalog,
        store=Path(request.store),
        data=Path(request.data),
        device=device,
        replicates=replicates,
    )


def _tuned(
    methods: list[str], request: Request, arguments: argparse.Namespace, count: int
) -> Iterator[tuple[str, Tuning]]:
    """Each method's tuning, as soon as it is done."""
    apart = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(count, mp_context=apart, initializer=_serve)
    try:
        futures = {
            pool.submit(_tune, name, request, arguments.trials, arguments.replicates): name
            for name in methods
        }
        for future in as_completed(futures):
            yield futures[future], future.result()
    except BaseException:
        for process in (pool._processes or {}).values():
            process.terminate()  # what is done is stored
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _serve() -> None:
    """The parent decides what Ctrl-C means, and where it is gone, this process goes too."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_outlive_nobody, daemon=True).start()


def _outlive_nobody() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _tune(name: str, request: Request, trials: int, replicates: int) -> Tuning:
    """One method, in a process of its own."""
    catalog = load_catalog(request.plugins)
    ground = _prepare(request, catalog, replicates)
    return tune(catalog.methods[name], ground, trials, say=_say)


def _say(text: str) -> None:
    print(f"unlearn: {text}", file=sys.stderr, flush=True)
