"""VGGish: a network that learnt to tell the sounds of videos apart."""

import math
from contextlib import nullcontext

import torch
from torch import Tensor, nn

from emotion.config.fields import Positive
from emotion.errors import EmotionError
from emotion.features.base import Representation
from emotion.features.pretrained import fill, from_url, weights_of

_RATE = 16_000
_WINDOW, _HOP, _N_FFT = 400, 160, 512  # samples
_BANDS, _LOWEST, _HIGHEST, _OFFSET = 64, 125.0, 7500.0, 0.01
_FRAMES = 96  # of an example: 0.96 s
_SHORTEST = _WINDOW + (_FRAMES - 1) * _HOP  # samples that one example sees
_QUANTIZED_RANGE = 2.0
_CONVOLUTIONS = ((1, 64, 1), (64, 128, 1), (128, 256, 0), (256, 256, 1), (256, 512, 0), (512, 512, 1))  # last: pooled
_RELEASE = "https://github.com/harritaylor/torchvggish/releases/download/v0.1/"


class Vggish(Representation):
    """An embedding of 128 numbers for every 0.96 seconds (Hershey et al., 2017, https://arxiv.org/abs/1609.09430).

    As published with AudioSet: logarithms of 64 mel bands, six convolutions, three linear layers, principal components
    made white, and eight bits each. What is left at the end of a recording is dropped, unless it is all there is.

    Args:
        sample_rate: Of the waveforms; 16,000 Hz.
        weights: `pretrained`, which are downloaded, `none`, or a file with `features.*` and `embeddings.*`.
        pca_weights: `pretrained`, `none`, or a file with `pca_eigen_vectors` and `pca_means`.
        postprocess: Principal components and eight bits, from 0 to 255; without, embeddings are as they come.
        frozen: Whether the weights stay as they are; then the embeddings are computed once and cached. What is rounded
            to eight bits has no gradient, so what learns cannot be postprocessed.
        learning_rate_factor: See `Representation`.
    """

    def __init__(
        self,
        sample_rate: int,
        weights: str = "pretrained",
        pca_weights: str = "pretrained",
        postprocess: bool = True,
        frozen: bool = True,
        learning_rate_factor: Positive = 0.01,
    ) -> None:
        super().__init__()
        if sample_rate != _RATE:
            raise EmotionError(f"vggish hears {_RATE} Hz: leave data.sample_rate={_RATE}")
        if postprocess and not frozen:
            raise EmotionError("eight bits have no gradient: frozen=false needs postprocess=false")
        self.weights, self.pca_weights, self.postprocess = weights, pca_weights, postprocess
        self.frozen, self.learning_rate_factor, self.num_features = frozen, learning_rate_factor, 128
        layers: list[nn.Module] = []
        for narrow, wide, pooled in _CONVOLUTIONS:
            layers += [nn.Conv2d(narrow, wide, 3, padding=1), nn.ReLU(), *[nn.MaxPool2d(2)] * pooled]
        self.network = nn.ModuleDict(
            {
                "features": nn.Sequential(*layers),
                "embeddings": nn.Sequential(
                    *(nn.Linear(512 * 4 * 6, 4096), nn.ReLU()),
                    *(nn.Linear(4096, 4096), nn.ReLU()),
                    *(nn.Linear(4096, 128), nn.ReLU()),
                ),
            }
        )
        components = {"pca_eigen_vectors": torch.eye(128), "pca_means": torch.zeros(128, 1)}
        self.components = nn.ParameterDict(components if postprocess else {})
        self.register_buffer("window", torch.hann_window(_WINDOW), persistent=False)
        self.register_buffer("bank", _mel_bank(), persistent=False)
        self.train()

    def load_pretrained(self) -> None:
        """See `Representation.load_pretrained`."""
        if self.weights != "none":
            known = {"pretrained": from_url(_RELEASE + "vggish-10086976.pth")}
            fill(self.network, weights_of(self.weights, known), self.weights)
        if self.pca_weights != "none" and self.postprocess:
            known = {"pretrained": from_url(_RELEASE + "vggish_pca_params-970ea276.pth")}
            found = weights_of(self.pca_weights, known, "pca_weights")
            if "pca_means" in found:
                found["pca_means"] = found["pca_means"].reshape(-1, 1)
            fill(self.components, found, self.pca_weights)

    def forward(self, waveform: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """See `Representation.forward`; a frame for every 0.96 seconds."""
        items = [self.examples(item[:count]) for item, count in zip(waveform, length.tolist(), strict=True)]
        counts = [len(examples) for examples in items]
        with torch.no_grad() if self.frozen else nullcontext():
            embedded = self._embed(torch.cat(items))
        rows = nn.utils.rnn.pad_sequence(embedded.split(counts), batch_first=True)
        return rows.transpose(1, 2), torch.tensor(counts, device=waveform.device)

    def examples(self, samples: Tensor) -> Tensor:
        """Log-mel pictures of a waveform, shape (T,): shape (examples, 96, 64)."""
        samples = nn.functional.pad(samples, (0, max(0, _SHORTEST - len(samples))))
        spectrum = torch.fft.rfft(samples.unfold(0, _WINDOW, _HOP) * self.window, _N_FFT).abs()
        mel = (spectrum @ self.bank + _OFFSET).log()
        return mel[: len(mel) // _FRAMES * _FRAMES].unflatten(0, (-1, _FRAMES))

    def _embed(self, examples: Tensor) -> Tensor:
        maps = self.network["features"](examples[:, None])
        # As the weights have it: channels come last.
        embedded = self.network["embeddings"](maps.permute(0, 2, 3, 1).flatten(1))
        if not self.postprocess:
            return embedded
        white = (embedded - self.components["pca_means"].T) @ self.components["pca_eigen_vectors"].T
        clipped = white.clamp(-_QUANTIZED_RANGE, _QUANTIZED_RANGE)
        return ((clipped + _QUANTIZED_RANGE) * (255 / (2 * _QUANTIZED_RANGE))).round()


def _mel_bank() -> Tensor:
    """Triangles on the mel scale itself, not on that of frequency, shape (1 + n_fft // 2, bands)."""
    lowest, highest = (1127.0 * math.log1p(frequency / 700.0) for frequency in (_LOWEST, _HIGHEST))
    edges = torch.linspace(lowest, highest, _BANDS + 2, dtype=torch.float64)
    frequencies = torch.linspace(0, _RATE / 2, 1 + _N_FFT // 2, dtype=torch.float64)
    bins = 1127.0 * torch.log1p(frequencies / 700.0)[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    bank = torch.minimum(rising, falling).clamp(min=0)
    bank[0] = 0  # what does not vibrate is no sound
    return bank.float()
