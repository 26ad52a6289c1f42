"""Which edits change the digest of a source text."""

import pytest

from harness.plugins.syntax import Import, read_syntax

TEXT = '''
"""A module."""
import os.path as p, sys
from . import near
from ..pkg import (a, b as c)

LIMIT: int = 0xFFFF_FFFF_FFFF_FFFF_FFFF  # more than a machine word
NAMES = {"é": b"\\x00", **{}, "\\U0001fae9": 'x' "y"}  # a character of Unicode 15
odd = -1.5e-300, 2j, ..., None, True, x if y else z, *[1]

@decorated(1, *a, **k)
class C(Base, metaclass=M):
    """A class."""
    field: float
    """A field."""

    async def m(self, a, /, b=1, *, c, d=2, **k) -> "str":
        """A method."""
        async with a as b, c:
            return [i async for i in x if (j := i)]

def f(*args):
    try:
        return f"{x!r:>{width}} {y=} {'a' 'b'}{z:}" "tail" f""
    except (A, B) as e:
        raise E from e
    else:
        pass
    finally:
        del x[1:2, ::3]
    try:
        yield from g
    except* A:
        global q
    match x:
        case {"k": -1, **rest} | [1, *_] | C(a=None) if z:
            while True: break
    return lambda *, k=None: (yield)
'''

SAME = {
    "comments": TEXT.replace("\n\n", "\n# a comment\n\n"),
    "docstrings": TEXT.replace("A module", "Another")
    .replace("A class", "?")
    .replace("A meth", "M"),
    "no docstrings": TEXT.replace('"""A module."""', "").replace('"""A method."""', ""),
    "a field's docstring": TEXT.replace('"""A field."""', '"""In seconds."""'),
    "blank lines": TEXT.replace("\n", "\n\n\n"),
    "quotes": TEXT.replace("'x' \"y\"", '"""xy"""').replace("'a' 'b'", "'ab'"),
    "numerals": TEXT.replace("0xFFFF_FFFF_FFFF_FFFF_FFFF", str(0xFFFF_FFFF_FFFF_FFFF_FFFF)),
    "parentheses": TEXT.replace("x if y else z", "(x) if (y) else (z)"),
    "line ends": TEXT.replace("\n", "\r\n"),
    "indentation": TEXT.replace("    ", "  "),
    "trailing commas": TEXT.replace("(a, b as c)", "(a, b as c,)"),
    "pieces of an f-string": TEXT.replace('"tail" f""', 'f"ta" "il"'),
    "an idle else": TEXT.replace("    else:\n        pass\n", ""),
}

OTHER = {
    "a constant": TEXT.replace("-1.5e-300", "-1.5e-301"),
    "a constant's type": TEXT.replace("d=2", "d=2.0"),
    "a string": TEXT.replace('"tail"', '"Tail"'),
    "a string's type": TEXT.replace('b"\\x00"', '"\\x00"'),
    "a name": TEXT.replace("yield from g", "yield from h"),
    "an annotation": TEXT.replace("field: float", "field: int"),
    "an order": TEXT.replace("import os.path as p, sys", "import sys, os.path as p"),
    "a parameter's kind": TEXT.replace("a, /, b=1", "a, b=1"),
    "a default's place": TEXT.replace("c, d=2", "c=2, d"),
    "an attribute": TEXT.replace("del x[1:2, ::3]", "del x[1:2, :3]"),
    "a conversion": TEXT.replace("{x!r:", "{x!s:"),
    "a block's end": TEXT.replace("            while True: break\n    return", "    return")
    .replace("if z:", "if z: pass"),
    "a level": TEXT.replace("from ..pkg", "from .pkg"),
    "an async": TEXT.replace("async with", "with"),
}  # fmt: skip


@pytest.mark.parametrize("edit", SAME)
def test_edits_of_docstrings_comments_and_layout_keep_the_digest(edit):
    assert SAME[edit] != TEXT

    assert read_syntax(SAME[edit].encode()).digest == read_syntax(TEXT.encode()).digest


@pytest.mark.parametrize("edit", OTHER)
def test_edits_of_code_change_the_digest(edit):
    assert OTHER[edit] != TEXT

    assert read_syntax(OTHER[edit].encode()).digest != read_syntax(TEXT.encode()).digest


def test_a_text_has_the_same_digest_on_every_python():
    """Computed with Python 3.11; 3.12 and 3.13 agree, also on 1,000 standard library files."""
    digest = read_syntax(TEXT.encode()).digest

    assert digest == "beeb13efb7702032385f1e4ea6121391b5f87ccc0c235a7b051b941eff6104e1"


def test_the_encoding_of_a_text_does_not_change_its_digest():
    latin = "# -*- coding: latin-1 -*-\nname = 'é'\n"

    assert read_syntax(latin.encode("latin-1")).digest == read_syntax("name = 'é'".encode()).digest


def test_a_text_nested_deeper_than_the_recursion_limit_can_be_read():
    assert read_syntax(f"x = {' + '.join('1' * 900)}".encode()).digest


def test_imports_are_found_inside_functions_too():
    body = ("import a.b", "from ..c import d, e", "import_module('.g')", "g.import_module(x)")

    imports = read_syntax("\n    ".join(("def f():", *body)).encode()).imports

    assert {*imports} == {Import(0, "a.b"), Import(2, "c", ("d", "e")), Import(1, "g")}


def test_functions_with_one_name_are_distinguished_by_their_order():
    text = "f = lambda: 1\n\n@a\n@b\ndef f():\n    pass\n\ng = lambda: 2"

    assert read_syntax(text.encode()).places == {
        ("<lambda>", 1): 0,
        ("f", 3): 0,
        ("<lambda>", 8): 1,
    }
