"""Settings out of range are refused by one clear error."""

import pytest

from amun_plugin import Closest, Engine, Pgd


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: Pgd(eps_init=0), ValueError, "eps_init must be above 0; got 0"),
        (lambda: Pgd(eps_init="a"), TypeError, "eps_init must be a number; got 'a'"),
        (lambda: Pgd(step=-1.0), ValueError, "step must be above 0"),
        (lambda: Pgd(step=float("nan")), ValueError, "step must be finite"),
        (lambda: Pgd(steps=0), ValueError, "steps must be at least 1; got 0"),
        (lambda: Pgd(steps=1.5), TypeError, "steps must be an int; got 1.5"),
        (lambda: Pgd(growth=1.0), ValueError, "growth must be above 1"),
        (lambda: Pgd(restart="cold"), ValueError, "restart must be one of warm, origin"),
        (lambda: Pgd(order="x"), ValueError, "order must be one of bracket, ascending"),
        (lambda: Pgd(stop="x"), ValueError, "stop must be one of first, last; got 'x'"),
        (lambda: Closest(steps=0), ValueError, "steps must be at least 1"),
        (lambda: Closest(refine=-1), ValueError, "refine must be at least 0"),
        (lambda: Closest(overshoot=-0.1), ValueError, "overshoot must be at least 0"),
        (lambda: Engine(batch=0), ValueError, "batch must be at least 1"),
        (lambda: Engine(batch="all"), TypeError, "batch must be an int; got 'all'"),
        (lambda: Engine(precision="fp8"), ValueError, "precision must be one of fp32, bf16"),
        (lambda: Engine(fold="no"), TypeError, "fold must be a bool; got 'no'"),
        (lambda: Engine(device="toaster"), ValueError, "device must name a torch device"),
    ],
)
def test_settings_out_of_range_are_refused(make, error, words):
    with pytest.raises(error, match=words):
        make()
