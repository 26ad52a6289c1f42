"""The laws fitted to margins, against scipy's."""

import numpy as np
import pytest
from scipy import stats

from harness.attacks.densities import Fit, default_law, log_density, log_tail, pooled_variance

VALUES = np.array([-300.0, -40.0, -1.3, 0.0, 0.2, 5.0, 60.0])
FIT = Fit(np.array(4.0), np.array(0.5), np.array(1.7), np.array(2.3))
SHAPE, RATE = 2 + 4 / 2, 2 * 2.3 + 4 * 1.7 / 2
LAWS = {
    "student": stats.t(2 * SHAPE, 0.5, np.sqrt(RATE / SHAPE * (1 + 1 / 4))),
    "example": stats.norm(0.5, np.sqrt(1.7)),
    "pooled": stats.norm(0.5, np.sqrt(2.3)),
}


@pytest.mark.parametrize("law", LAWS)
def test_the_log_density_is_scipys(law):
    assert log_density(VALUES, FIT, law) == pytest.approx(LAWS[law].logpdf(VALUES), rel=1e-12)


@pytest.mark.parametrize("law", LAWS)
def test_the_log_tail_is_scipys_below_the_centre(law):
    low = VALUES[VALUES < 0.5]

    assert log_tail(low, FIT, law) == pytest.approx(LAWS[law].logcdf(low), rel=1e-9)


def test_students_log_tail_still_tells_large_values_apart():
    values = np.array([10.0, 100.0, 1000.0])

    found = log_tail(values, FIT, "student")

    assert found == pytest.approx(np.log1p(-LAWS["student"].sf(values)), rel=1e-9, abs=0)
    assert np.all(np.diff(found) > 0)


def test_students_log_tail_goes_on_where_the_probability_underflows():
    many = Fit(np.array(200.0), np.array(0.0), np.array(1.0), np.array(1.0))
    values = -np.logspace(0, 9, 200)

    found = log_tail(values, many, "student")

    assert np.all(np.isfinite(found))
    assert np.all(np.diff(found) < 0)
    slope = np.diff(found[-2:]) / np.diff(np.log(-values[-2:]))
    assert slope == pytest.approx(-(4 + 200), rel=1e-6)  # a power law with 2a degrees of freedom


@pytest.mark.parametrize("law", LAWS)
def test_a_law_without_spread_has_finite_scores(law):
    constant = Fit(np.array(3.0), np.array(1.0), np.array(0.0), np.array(0.0))

    found = [log_density(VALUES, constant, law), log_tail(VALUES, constant, law)]

    assert np.all(np.isfinite(found))


def test_the_pooled_variance_is_that_of_an_analysis_of_variance():
    groups = [[1.0, 4.0, 2.0], [7.0, 9.0], [3.0]]
    count = np.array([len(group) for group in groups], dtype=float)
    squares = sum(np.var(group) * len(group) for group in groups)

    found = pooled_variance(count, np.array([np.var(group) for group in groups]), axis=0)

    assert found == pytest.approx(squares / (2 + 1))


def test_one_model_a_side_has_no_pooled_variance():
    with pytest.raises(ValueError, match="no example has two"):
        pooled_variance(np.ones(5), np.zeros(5), axis=0)


def test_students_law_is_the_default_below_64_models():
    assert [default_law(models) for models in (4, 63, 64)] == ["student", "student", "example"]


def test_an_unknown_law_is_named():
    with pytest.raises(ValueError, match="'gauss'"):
        log_density(VALUES, FIT, "gauss")
