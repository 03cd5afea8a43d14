"""Intervals, divergences and files that are replaced at once, against libraries."""

import numpy as np
import pytest
import torch
from scipy.stats import bootstrap

from lm.metrics import kl
from lm.paths import replacing
from lm.statistics import Estimate, estimate, middle, resampled


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


def test_kl_is_torchs():
    logits = torch.randn(2, 5, 90, generator=torch.Generator().manual_seed(0))
    own, base = logits.log_softmax(-1)
    theirs = torch.nn.functional.kl_div(base, own, reduction="none", log_target=True).sum(-1)
    assert torch.allclose(kl(own, base), theirs, atol=1e-6) and (kl(own, own) == 0).all()


def test_a_file_is_replaced_when_it_is_whole_or_not_at_all(tmp_path):
    path = tmp_path / "new" / "file"
    with replacing(path) as part:
        part.write_text("old")
        assert not path.exists()
    with pytest.raises(RuntimeError), replacing(path) as part:
        part.write_text("ne")
        raise RuntimeError
    assert path.read_text() == "old" and [*path.parent.iterdir()] == [path]
