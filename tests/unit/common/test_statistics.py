"""Intervals against a library."""

import numpy as np
import pytest
from scipy.stats import bootstrap

from common.statistics import Estimate, estimate, middle, resampled


@pytest.mark.parametrize("size", [2, 7, 240])
def test_an_interval_is_scipys_percentile_bootstrap(size):
    values = np.random.default_rng(size).gamma(1.0, 2.0, size)
    own = estimate(values)
    theirs = bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", rng=0).confidence_interval
    spread = theirs.high - theirs.low
    assert own.mean == pytest.approx(values.mean())
    assert own.low == pytest.approx(theirs.low, abs=0.06 * spread)
    assert own.high == pytest.approx(theirs.high, abs=0.06 * spread)


def test_an_estimate_is_the_same_every_time_and_has_no_width_where_nothing_varies():
    assert estimate([1.0, 2.0, 5.0], seed=3) == estimate([1.0, 2.0, 5.0], seed=3)
    assert estimate([4.0] * 9) == Estimate(4.0, 4.0, 4.0) == estimate([4.0])


def test_every_draw_takes_as_many_as_there_are():
    drawn = resampled(13, np.random.default_rng(0), 400)
    assert drawn.shape == (400, 13) and (drawn.sum(1) == 13).all()
    assert middle(np.arange(0, 1001)) == pytest.approx((25.0, 975.0))
