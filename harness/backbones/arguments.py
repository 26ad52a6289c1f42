"""Reads a backbone's name, which may carry settings: ``NAME[key=value,key=value]``."""

from __future__ import annotations

import ast
from typing import Any

from harness.errors import UserError

EXAMPLE = "'vit_tiny_patch16_224[img_size=32,patch_size=4]'"
RESERVED = frozenset(
    {"pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path", "cache_dir"}
    | {"in_chans", "num_classes", "features_only"}
)
"""Arguments that the harness sets itself, or that would load weights from elsewhere."""


def parse(name: str) -> tuple[str, dict[str, Any]]:
    """The name before the brackets, and the settings in them: Python literals or bare words.

    Raises UserError for a name of any other form.
    """
    base, bracket, rest = name.partition("[")
    try:
        call = ast.parse(f"f({rest.removesuffix(']')})", mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        call = None
    if (
        not base
        or "]" in base
        or rest.endswith("]") != bool(bracket)
        or not isinstance(call, ast.Call)
        or not isinstance(call.func, ast.Name)
        or call.args
    ):
        raise UserError(f"backbone {name!r}: expected NAME or NAME[key=value,…], like {EXAMPLE}")
    try:
        return base, dict(map(_setting, call.keywords))
    except ValueError as error:
        raise UserError(f"backbone {name!r}: {error}; write it like {EXAMPLE}") from None


def _setting(item: ast.keyword) -> tuple[str, Any]:
    key, value = item.arg, item.value
    if key is None:
        raise ValueError("expected key=value in the brackets")
    if key in RESERVED:
        raise ValueError(f"{key} is set by the harness; leave it out")
    if isinstance(value, ast.Name):
        if value.id in ("true", "false", "none"):
            raise ValueError(f"{key}={value.id}: capitalise it, {value.id.capitalize()}")
        return key, value.id
    try:
        setting = ast.literal_eval(value)
    except (ValueError, TypeError):
        raise ValueError(f"{key}: expected a number, True, False or a 'string'") from None
    if key == "img_size" and not _is_size(setting):
        raise ValueError(f"img_size: expected pixels or (height, width); got {setting!r}")
    return key, setting


def _is_size(value: Any) -> bool:
    pair = value if isinstance(value, tuple) else (value, value)
    return len(pair) == 2 and all(isinstance(side, int) and side > 0 for side in pair)
