"""What a column of scores says: means with a cap, intervals, gains, and tests between two methods."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from unblur.errors import OptionError

#: PSNR above which a change cannot be seen, in dB.
INVISIBLE = 45.0


class TTest(NamedTuple):
    """Outcome of a paired t-test: the statistic and the two-sided p value."""

    statistic: float
    p_value: float


def capped_mean(psnrs: ArrayLike, cap: float) -> float:
    """Mean of PSNRs in dB, each at most `cap`, so that exact pictures count without making it infinite.

    Shape: (N,). Raises OptionError for no scores or NaN.
    """
    return float(np.minimum(_scores(psnrs), cap).mean())


def gain(psnr_out: float, psnr_in: float, *, cap: float = INVISIBLE) -> float:
    """What a restoration won, in dB: min(out, cap) - min(in, cap).

    Negative means harm. A picture that stays above the cap neither gains nor loses.
    """
    return min(psnr_out, cap) - min(psnr_in, cap)


def bootstrap_interval(
    scores: ArrayLike, *, rng: np.random.Generator, level: float = 0.95, resamples: int = 2000
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean, (low, high).

    Shape: (N,), finite. `level`: the share of the resampled means between the two ends.
    Raises OptionError for no scores, scores that are not finite (cap them first), or a level outside (0, 1).
    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, section 13.3.
    """
    values = _finite(scores)
    if not 0 < level < 1:
        raise OptionError(f"the level of an interval must lie between 0 and 1, got {level:g}")
    means = [values[rng.integers(values.size, size=values.size)].mean() for _ in range(resamples)]
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def paired_t_test(a: ArrayLike, b: ArrayLike) -> TTest:
    """Paired two-sided Student t-test of the scores that two methods got on the same pictures.

    Shape: (N,) each, N at least 2, finite. Methods that agree on every picture get p = 1; methods that differ
    by the same amount on every picture get p = 0.
    Raises OptionError for columns of different lengths, too short, or not finite (cap them first).
    """
    from scipy import stats

    first, second = _finite(a), _finite(b)
    if first.shape != second.shape or first.size < 2:
        raise OptionError(
            f"a paired test needs two equal columns of 2 or more, got {first.size} and {second.size}"
        )
    difference = first - second
    if (difference == difference[0]).all():
        constant = float(difference[0])
        return TTest(float(np.copysign(np.inf, constant)), 0.0) if constant else TTest(0.0, 1.0)
    result = stats.ttest_rel(first, second)
    return TTest(float(result.statistic), float(result.pvalue))


def _scores(scores: ArrayLike) -> NDArray[np.float64]:
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim != 1 or values.size == 0 or np.isnan(values).any():
        raise OptionError(f"expected a column of scores without NaN, got shape {values.shape}")
    return values


def _finite(scores: ArrayLike) -> NDArray[np.float64]:
    values = _scores(scores)
    if not np.isfinite(values).all():
        raise OptionError("scores must be finite here; cap infinite PSNRs first")
    return values
