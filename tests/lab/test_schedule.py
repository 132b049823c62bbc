import math

import pytest

from unblur.lab import recipe as recipes
from unblur.lab import schedule
from unblur.lab.schedule import Waiting


def test_rate_of_the_multi_scale_cnn() -> None:
    # Halved at 400, 500, ..., 900.
    steps = recipes.Steps(kind="steps", epochs=(400, 500, 600, 700, 800, 900))
    rates = [5e-5 * schedule.factor(steps, epoch=e, step=0, steps=1) for e in (0, 399, 400, 500, 900, 999)]
    assert rates == [5e-5, 5e-5, 2.5e-5, 1.25e-5, 7.8125e-7, 7.8125e-7]


def test_cosine_rises_then_falls() -> None:
    cosine = recipes.Cosine(kind="cosine", warm_up=4, final=0.1)
    factors = [schedule.factor(cosine, epoch=0, step=step, steps=25) for step in range(25)]
    assert factors[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert factors[-1] == pytest.approx(0.1)
    assert factors[14] == pytest.approx(0.55)
    assert factors[4:] == sorted(factors[4:], reverse=True)
    assert schedule.factor(cosine, epoch=0, step=99, steps=25) == pytest.approx(0.1)


def test_constant() -> None:
    assert schedule.factor(recipes.Constant(kind="constant"), epoch=7, step=7, steps=9) == 1.0


def keras_plateau(losses: list[float], factor: float, patience: int, min_delta: float) -> list[float]:
    """ReduceLROnPlateau.on_epoch_end of Keras 2, cooldown 0, written out."""
    best, wait, rate, rates = math.inf, 0, 1.0, []
    for loss in losses:
        if loss < best - min_delta:
            best, wait = loss, 0
        else:
            wait += 1
            if wait >= patience:
                rate *= factor
                wait = 0
        rates.append(rate)
    return rates


def test_plateau_acts_at_the_patience_th_epoch() -> None:
    waiting = Waiting()
    losses = [1.0, 0.9, 0.9, 0.89995, 0.95, 0.9, 0.9, 0.9, 0.9, 0.9, 0.5, 0.5]
    acted = [waiting.tell(loss, 4, 1e-4) for loss in losses]
    # Four epochs after the second without an improvement of more than 1e-4: the sixth, then the tenth.
    assert [i for i, yes in enumerate(acted) if yes] == [5, 9]
    rate, rates = 1.0, []
    for yes in acted:
        rate *= 0.2 if yes else 1.0
        rates.append(rate)
    assert rates == pytest.approx(keras_plateau(losses, 0.2, 4, 1e-4), rel=1e-12)


def test_early_stopping_counts_any_improvement() -> None:
    waiting = Waiting()
    assert [waiting.tell(loss, 2) for loss in [1.0, 0.99999, 1.0, 0.99999]] == [False, False, False, True]
