"""Front end of facial action units."""

from torch import Tensor

from emotion.augment.mixup import mix_features
from emotion.batch import Batch, get_action_units
from emotion.features.normalization import FrontEnd


class ActionUnitFrontEnd(FrontEnd):
    """Normalise action units; means over time are one frame."""

    def present(self, batch: Batch) -> Tensor:
        """See `FrontEnd.present`."""
        return get_action_units(batch)[1] > 0

    def compute_features(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """See `FrontEnd.compute_features`."""
        units, frames = get_action_units(batch)
        return (units[:, None] if units.ndim == 2 else units).transpose(1, 2), frames

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return normalised units, shape (B, A, N), zero beyond each item's frames, and their number, shape (B,)."""
        return mix_features(*self.normalized(batch), batch)
