"""Early stopping on validation loss."""

import math
from dataclasses import dataclass, replace

from lesionlens.config import StoppingConfig


@dataclass(frozen=True, slots=True)
class Stopper:
    """Where a phase stands. A new one for every phase.

    lowest: lowest loss so far (the best checkpoint). reference: loss at the last sufficient improvement;
    slow progress adds up against it. waited: epochs since then. epochs: epochs of this phase.
    Losses are finite; the values before the first epoch are infinite.
    """

    lowest: float = math.inf
    reference: float = math.inf
    waited: int = 0
    epochs: int = 0

    def after(self, loss: float, config: StoppingConfig) -> "Stopper":
        """The state after an epoch with this validation loss. ValueError for NaN or infinity."""
        if not math.isfinite(loss):
            raise ValueError(f"validation loss is {loss}: only finite losses can be compared")
        moved = replace(self, lowest=min(self.lowest, loss), epochs=self.epochs + 1)
        if loss < self.reference and self.reference - loss >= config.min_delta:
            return replace(moved, reference=loss, waited=0)
        return replace(moved, waited=self.waited + 1)

    @property
    def counted(self) -> bool:
        """Whether the loss of the last epoch fell enough to count."""
        return self.epochs > 0 and self.waited == 0

    def improved_on(self, before: "Stopper") -> bool:
        """Whether the last epoch has the lowest loss of its phase; a tie keeps the earlier epoch."""
        return self.lowest < before.lowest

    def done(self, config: StoppingConfig) -> bool:
        """Whether the phase ends here: patience used up, or as many epochs as allowed."""
        return self.waited >= config.patience or self.epochs >= config.max_epochs
