"""The standard collections of functionals, as openSMILE computes them."""

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
_SHORTEST = 0.5  # seconds; of less openSMILE computes nothing


class OpensmileFunctionals(Representation):
    """One vector for each recording: functionals of low-level descriptors (Eyben et al., 2010).

    https://doi.org/10.1145/1873951.1874246. eGeMAPS: Eyben et al. (2016), https://doi.org/10.1109/TAFFC.2015.2457417;
    ComParE: Schuller et al. (2016), https://doi.org/10.21437/Interspeech.2016-129.

    Args:
        sample_rate: Of the waveforms, in Hz.
        collection: `eGeMAPSv02` or `ComParE_2016`.

    Raises:
        EmotionError: there is no such collection, or openSMILE is not installed.
    """

    one_frame = True

    def __init__(self, sample_rate: int, collection: str) -> None:
        super().__init__()
        if collection not in _SIZES:
            raise EmotionError(f"collection={collection}: {suggest(collection, _SIZES)}")
        self.sample_rate, self.collection, self.num_features = sample_rate, collection, _SIZES[collection]

    def forward(self, waveform: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """See `Representation.forward`; one frame."""
        smile, least = _smile(self.collection), round(_SHORTEST * self.sample_rate)
        vectors = []
        for item, count in zip(waveform.detach().cpu().numpy(), length.tolist(), strict=True):
            samples = np.pad(item[:count], (0, max(0, least - count)))
            vectors.append(smile(samples, self.sample_rate)[0, :, 0])
        # Where nothing is voiced some functionals are not defined.
        found = torch.nan_to_num(torch.from_numpy(np.stack(vectors)), posinf=0.0, neginf=0.0)
        return found[..., None].to(waveform.device, torch.float32), torch.ones_like(length)


@cache
def _smile(collection: str) -> "Smile":
    try:
        from opensmile import FeatureLevel, FeatureSet, Smile
    except ImportError as error:
        raise EmotionError("opensmile is not installed: pip install 'emotion[opensmile]'") from error
    return Smile(FeatureSet[collection], FeatureLevel.Functionals)
