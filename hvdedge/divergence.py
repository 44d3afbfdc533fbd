"""Training that goes wrong: what tells of it, and by how much the learning rate is lowered.

    diverged   a loss or a weight is no finite number, or an epoch's loss is over GROWTH times the best so far:
               the state of the last good epoch comes back, the rate is halved; after RESTORATIONS of them without a
               better epoch between, the training fails
    plateau    no loss was lower than the lowest by a share of LEAST_GAIN for some epochs: the rate is halved

The loss that training began with counts as a first best, and the best as no less than a FLOOR of it: near zero a loss
may well rise many times over and mean nothing.

Source: Chowdhery et al. 2022, PaLM: scaling language modeling with pathways (going back before a spike of the loss); He
et al. 2016, Deep residual learning for image recognition (a lower rate at plateaus).
"""

import dataclasses
import math

GROWTH = 4.0
OTHER_ROWS = 1000.0  # instead, where epochs are of other rows: their losses differ without anything being wrong
FLOOR = 0.1
RESTORATIONS = 3
LEAST_GAIN = 1e-3
LOWERED = 0.5


@dataclasses.dataclass
class Course:
    """What the rules know of a training so far, alike on every rank; plain numbers, as it is part of a checkpoint.

    Attributes:
        rate_scale: what the learning rate is multiplied with.
        began, best: loss before the first step; the lowest of an epoch, or that.
        good_epochs: how many epochs were done at the last one that was good; 0: none was.
        restorations: since the loss was last better.
        lowest, waited: the loss by which a plateau is told, and epochs since it last fell.
    """

    rate_scale: float = 1.0
    began: float | None = None
    best: float | None = None
    good_epochs: int = 0
    restorations: int = 0
    lowest: float | None = None
    waited: int = 0

    def begin(self, loss: float, chance: float) -> None:
        """Take in what the loss was before the first step, of a few rows: no less than `chance`, that of guessing."""
        self.began = self.best = max(loss, chance) if math.isfinite(loss) else chance

    def has_grown(self, loss: float, times: float) -> bool:
        """Tell whether an epoch's loss is over so many times the best, and so that of a training that diverges."""
        return self.best is not None and loss > times * max(self.best, FLOOR * (self.began or 0.0))

    def diverge(self) -> bool:
        """Lower the rate for an epoch that diverged; tell whether to go on."""
        self.restorations += 1
        self.rate_scale *= LOWERED
        return self.restorations <= RESTORATIONS

    def improve(self, epochs: int, loss: float | None) -> None:
        """Take in a good epoch, the last of `epochs`; its loss is None where there is none that tells."""
        self.good_epochs = epochs
        if loss is None or self.best is None or loss < self.best:
            self.best, self.restorations = loss, 0

    def stagnates(self, loss: float, plateau: int) -> bool:
        """Take in the loss by which a plateau is told; after `plateau` epochs of one, lower the rate and tell so."""
        if self.lowest is None or loss < self.lowest - LEAST_GAIN * abs(self.lowest):
            self.lowest, self.waited = loss, 0
            return False
        self.waited += 1
        if self.waited < plateau:
            return False
        self.waited = 0
        self.rate_scale *= LOWERED
        return True
