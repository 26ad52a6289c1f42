"""The public API, taken from ``harness.api`` when it is first asked for.

So ``import harness`` costs nothing, and a command can say that it was stopped before it has torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

from harness.version import __version__ as __version__

if TYPE_CHECKING:
    from harness.api import *  # noqa: F403
    from harness.api import __all__ as __all__


def __getattr__(name: str) -> Any:
    if name == "load_results":  # those who read records need no torch
        return importlib.import_module("harness.leaderboard.frame").load_results
    api = importlib.import_module("harness.api")  # `from harness import api` would ask here again
    if name != "__all__" and name not in api.__all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(api, name)


def __dir__() -> list[str]:
    return [*globals(), *__getattr__("__all__")]
