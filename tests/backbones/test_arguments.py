"""A backbone's name with settings in brackets: what is read, and what is refused in one line."""

import pytest

from harness.backbones.arguments import parse
from harness.errors import UserError


def test_settings_are_literals_or_bare_words():
    assert parse("net[a=1,b=-0.5,c=True,d=(2, 3),e='x,y',f=gelu]") == (
        "net",
        {"a": 1, "b": -0.5, "c": True, "d": (2, 3), "e": "x,y", "f": "gelu"},
    )
    assert parse("net") == parse("net[]") == ("net", {})


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "expected NAME or NAME[key=value,…]"),
        ("test_vit[img_size=32", "expected NAME or NAME[key=value,…]"),
        ("test_vit]", "expected NAME or NAME[key=value,…]"),
        ("test_vit[a][b]", "expected NAME or NAME[key=value,…]"),
        ("test_vit[32]", "expected NAME or NAME[key=value,…]"),
        ("test_vit[img_size=]", "expected NAME or NAME[key=value,…]"),
        ("test_vit[)(]", "expected NAME or NAME[key=value,…]"),
        ("test_vit[**x]", "expected key=value in the brackets"),
        ("test_vit[img_size=1+1]", "img_size: expected a number, True, False or a 'string'"),
        ("test_vit[img_size=(1,2,3)]", "img_size: expected pixels or (height, width)"),
        ("test_vit[qkv_bias=false]", "qkv_bias=false: capitalise it, False"),
        ("test_resnet[pretrained=True]", "pretrained is set by the harness"),
        ("test_resnet[checkpoint_path='x.pt']", "checkpoint_path is set by the harness"),
        ("test_resnet[num_classes=7]", "num_classes is set by the harness"),
    ],
)
def test_a_malformed_name_is_refused_in_one_line_that_says_what_is_expected(name, message):
    with pytest.raises(UserError) as error:
        parse(name)

    assert message in str(error.value)
    assert repr(name) in str(error.value)
    assert "\n" not in str(error.value)
