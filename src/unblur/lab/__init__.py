"""The workshop: recipes, batches, and the loop that turns real data into trained weights. Needs torch."""

from __future__ import annotations

import os

# OpenMP's threads wait for one another actively, for some 17 ms on current processors before they sleep. Where other
# programs run too, the thread that is waited for is often not on a core, and most of a step is waiting: give up after
# about a millisecond. Heeded if torch is imported after this.
os.environ.setdefault("GOMP_SPINCOUNT", "20000")
