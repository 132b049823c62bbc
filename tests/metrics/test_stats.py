import math

import numpy as np
import pytest
from scipy import special

from unblur.errors import OptionError
from unblur.metrics import bootstrap_interval, capped_mean, gain, paired_t_test


def test_capped_mean_counts_exact_pictures():
    assert capped_mean([20, 40, math.inf], 60) == 40
    assert capped_mean([20, 40, 100], 80) == pytest.approx(140 / 3)


def test_gain_ignores_what_cannot_be_seen():
    assert gain(30, 25) == 5
    assert gain(25, 30) == -5
    assert gain(46, math.inf) == 0
    assert gain(math.inf, math.inf) == 0
    assert gain(40, math.inf) == -5
    assert gain(70, 64, cap=80) == 6


def test_interval_is_seeded_and_near_the_normal_one(rng):
    scores = rng.normal(30, 3, 1000)
    low, high = bootstrap_interval(scores, rng=np.random.default_rng(0))
    assert (low, high) == bootstrap_interval(scores, rng=np.random.default_rng(0))
    half = 1.96 * scores.std() / math.sqrt(1000)
    assert low == pytest.approx(scores.mean() - half, abs=0.02)
    assert high == pytest.approx(scores.mean() + half, abs=0.02)


def test_interval_covers_the_truth_as_often_as_it_says(rng):
    covered = 0
    for _ in range(200):
        low, high = bootstrap_interval(rng.exponential(1, 60), rng=rng, resamples=200)
        covered += low <= 1 <= high
    assert 0.87 <= covered / 200 <= 0.99


def test_interval_of_equal_scores_is_a_point(rng):
    assert bootstrap_interval([30.0] * 5, rng=rng) == (30, 30)
    narrow = bootstrap_interval([1, 2, 3, 4, 5], rng=np.random.default_rng(1), level=0.5)
    wide = bootstrap_interval([1, 2, 3, 4, 5], rng=np.random.default_rng(1), level=0.99)
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


def test_t_test_follows_the_definition(rng):
    a = rng.normal(30, 3, 40)
    b = a + rng.normal(0.2, 0.5, 40)
    difference = a - b
    t = difference.mean() / (difference.std(ddof=1) / math.sqrt(40))
    result = paired_t_test(a, b)
    assert result.statistic == pytest.approx(t, rel=1e-10)
    # Two-sided tail of Student's t with 39 degrees of freedom through the incomplete beta function.
    assert result.p_value == pytest.approx(special.betainc(39 / 2, 0.5, 39 / (39 + t**2)), rel=1e-9)
    assert paired_t_test(b, a).statistic == pytest.approx(-t, rel=1e-10)


def test_t_test_is_paired(rng):
    a = rng.normal(30, 5, 50)
    assert paired_t_test(a, a + rng.normal(0.1, 0.05, 50)).p_value < 1e-6


def test_t_test_without_spread():
    assert paired_t_test([30, 31], [30, 31]) == (0, 1)
    assert paired_t_test([31, 32], [30, 31]) == (math.inf, 0)
    assert paired_t_test([30, 31], [31, 32]) == (-math.inf, 0)


def test_wrong_columns(rng):
    with pytest.raises(OptionError, match="finite"):
        paired_t_test([math.inf, 1], [1, 2])
    with pytest.raises(OptionError, match="got 2 and 3"):
        paired_t_test([1, 2], [1, 2, 3])
    with pytest.raises(OptionError, match="got 1 and 1"):
        paired_t_test([1], [2])
    with pytest.raises(OptionError, match="column"):
        capped_mean([], 60)
    with pytest.raises(OptionError, match="column"):
        capped_mean([math.nan], 60)
    with pytest.raises(OptionError, match="finite"):
        bootstrap_interval([1, math.inf], rng=rng)
    with pytest.raises(OptionError, match="level"):
        bootstrap_interval([1, 2], rng=rng, level=95)
