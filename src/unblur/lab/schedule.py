"""Learning rates and the end of training: small pure functions, and counters that are plain numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass

from unblur.lab import recipe


def factor(schedule: recipe.Schedule, *, epoch: int, step: int, steps: int) -> float:
    """What the base rate is multiplied by, but for plateaus.

    epoch, step: counted from 0, `step` over the whole training of `steps` steps.
    """
    match schedule:
        case recipe.Steps():
            return schedule.factor ** sum(epoch >= at for at in schedule.epochs)
        case recipe.Cosine():
            if step < schedule.warm_up:
                return (step + 1) / schedule.warm_up
            done = (step - schedule.warm_up) / max(steps - 1 - schedule.warm_up, 1)
            return schedule.final + (1 - schedule.final) * 0.5 * (1 + math.cos(math.pi * min(done, 1)))
    return 1.0


@dataclass
class Waiting:
    """How long a loss has not become lower. It acts at the `patience`-th such epoch in a row, as Keras does."""

    best: float = math.inf
    epochs: int = 0

    def tell(self, loss: float, patience: int, min_delta: float = 0.0) -> bool:
        """Count one epoch; whether patience has run out. Then the count starts again, the best loss stays."""
        if loss < self.best - min_delta:
            self.best, self.epochs = loss, 0
            return False
        self.epochs += 1
        if self.epochs < patience:
            return False
        self.epochs = 0
        return True
