"""Facial action units as features over time."""

from typing import Any

from torch import Tensor

from emotion.features.augment import mixed
from emotion.features.normalization import FrontEnd


class ActionUnitFrontEnd(FrontEnd):
    """Normalises action units; means over time are one frame."""

    def present(self, batch: dict[str, Any]) -> Tensor:
        """See `FrontEnd.present`."""
        return batch["action_unit_frames"] > 0

    def compute_features(self, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """See `FrontEnd.compute_features`."""
        units = batch["action_units"]
        return (units[:, None] if units.ndim == 2 else units).transpose(1, 2), batch["action_unit_frames"]

    def forward(self, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """Normalised units, shape (B, A, N), zero beyond each item's frames, and the frames, shape (B,)."""
        return mixed(*self.normalized(batch), batch)
