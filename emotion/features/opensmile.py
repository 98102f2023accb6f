"""Standard collections of functionals, computed by openSMILE."""

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from emotion.errors import EmotionError, suggest
from emotion.features.base import Representation

if TYPE_CHECKING:
    from opensmile import Smile

_SIZES = {"eGeMAPSv02": 88, "ComParE_2016": 6373}
_MIN_DURATION_S = 0.5  # openSMILE computes nothing for less


class OpensmileFunctionals(Representation):
    """Functionals of low-level descriptors, one vector for each recording (Eyben et al., 2010).

    https://doi.org/10.1145/1873951.1874246. eGeMAPS: Eyben et al. (2016), https://doi.org/10.1109/TAFFC.2015.2457417;
    ComParE: Schuller et al. (2016), https://doi.org/10.21437/Interspeech.2016-129.

    Args:
        sample_rate: Sampling rate, in Hz.
        collection: `eGeMAPSv02` or `ComParE_2016`.

    Raises:
        EmotionError: the collection is unknown, or openSMILE is not installed.
    """

    one_frame = True

    def __init__(self, sample_rate: int, collection: str) -> None:
        super().__init__()
        if collection not in _SIZES:
            raise EmotionError(f"collection={collection}: {suggest(collection, _SIZES)}")
        self.sample_rate, self.collection, self.num_features = sample_rate, collection, _SIZES[collection]

    def forward(self, waveform: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """See `Representation.forward`; one frame."""
        smile, least = _smile(self.collection), round(_MIN_DURATION_S * self.sample_rate)
        vectors = []
        for item, count in zip(waveform.detach().cpu().numpy(), length.tolist(), strict=True):
            samples = np.pad(item[:count], (0, max(0, least - count)))
            vectors.append(smile(samples, self.sample_rate)[0, :, 0])
        # Some functionals are undefined for recordings without voiced frames.
        functionals = torch.nan_to_num(torch.from_numpy(np.stack(vectors)), posinf=0.0, neginf=0.0)
        return functionals[..., None].to(waveform.device, torch.float32), torch.ones_like(length)


@cache
def _smile(collection: str) -> "Smile":
    try:
        from opensmile import FeatureLevel, FeatureSet, Smile
    except ImportError as error:
        raise EmotionError("opensmile is not installed: pip install 'emotion[opensmile]'") from error
    return Smile(FeatureSet[collection], FeatureLevel.Functionals)
