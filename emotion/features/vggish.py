"""VGGish, a CNN that was trained to classify the audio of videos."""

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
_N_MELS, _F_MIN, _F_MAX, _OFFSET = 64, 125.0, 7500.0, 0.01
_FRAMES = 96  # of an example: 0.96 s
_MIN_SAMPLES = _WINDOW + (_FRAMES - 1) * _HOP  # of an example
_QUANTIZED_RANGE = 2.0
_CONVOLUTIONS = ((1, 64, 1), (64, 128, 1), (128, 256, 0), (256, 256, 1), (256, 512, 0), (512, 512, 1))  # last: pooled
_RELEASE = "https://github.com/harritaylor/torchvggish/releases/download/v0.1/"


class Vggish(Representation):
    """VGGish embeddings of 128 values for each 0.96 s (Hershey et al., 2017, https://arxiv.org/abs/1609.09430).

    As published with AudioSet: log-mel spectrogram of 64 bands, six convolutions, three linear layers, PCA with
    whitening, and quantisation to eight bits. A remainder at the end of a recording is dropped, unless the recording is
    shorter than 0.96 s.

    Args:
        sample_rate: Sampling rate, in Hz; must be 16,000.
        weights: `pretrained` (downloaded), `none`, or a file with `features.*` and `embeddings.*`.
        pca_weights: `pretrained`, `none`, or a file with `pca_eigen_vectors` and `pca_means`.
        postprocess: Apply PCA and quantisation to integers in [0, 255] (default: True).
        freeze: Do not train the weights; the embeddings are then computed once and cached (default: True). Training
            needs `postprocess=False`, since quantisation has no gradient.
        lr_multiplier: See `Representation`.

    Raises:
        EmotionError: the sampling rate is another one, or trained embeddings are postprocessed.
    """

    window: Tensor
    bank: Tensor

    def __init__(
        self,
        sample_rate: int,
        weights: str = "pretrained",
        pca_weights: str = "pretrained",
        postprocess: bool = True,
        freeze: bool = True,
        lr_multiplier: Positive = 0.01,
    ) -> None:
        super().__init__()
        if sample_rate != _RATE:
            raise EmotionError(f"vggish needs audio at {_RATE} Hz: set data.sample_rate={_RATE}")
        if postprocess and not freeze:
            raise EmotionError("quantised embeddings have no gradient: freeze=false needs postprocess=false")
        self.weights, self.pca_weights, self.postprocess = weights, pca_weights, postprocess
        self.freeze, self.lr_multiplier, self.num_features = freeze, lr_multiplier, 128
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
        """See `Representation.forward`; there is one frame for each 0.96 s."""
        items = [self.examples(item[:count]) for item, count in zip(waveform, length.tolist(), strict=True)]
        counts = [len(examples) for examples in items]
        with torch.no_grad() if self.freeze else nullcontext():
            embedded = self._embed(torch.cat(items))
        padded = nn.utils.rnn.pad_sequence(list(embedded.split(counts)), batch_first=True)
        return padded.transpose(1, 2), torch.tensor(counts, device=waveform.device)

    def examples(self, samples: Tensor) -> Tensor:
        """Return log-mel spectrograms, shape (n_examples, 96, 64), of a waveform of shape (T,)."""
        samples = nn.functional.pad(samples, (0, max(0, _MIN_SAMPLES - len(samples))))
        spectrum = torch.fft.rfft(samples.unfold(0, _WINDOW, _HOP) * self.window, _N_FFT).abs()
        mel = (spectrum @ self.bank + _OFFSET).log()
        return mel[: len(mel) // _FRAMES * _FRAMES].unflatten(0, (-1, _FRAMES))

    def _embed(self, examples: Tensor) -> Tensor:
        maps = self.network["features"](examples[:, None])
        # The published weights expect channels last.
        embedded = self.network["embeddings"](maps.permute(0, 2, 3, 1).flatten(1))
        if not self.postprocess:
            return embedded
        white = (embedded - self.components["pca_means"].T) @ self.components["pca_eigen_vectors"].T
        clipped = white.clamp(-_QUANTIZED_RANGE, _QUANTIZED_RANGE)
        return ((clipped + _QUANTIZED_RANGE) * (255 / (2 * _QUANTIZED_RANGE))).round()


def _mel_bank() -> Tensor:
    """Return a filter bank that is triangular on the mel scale, not in frequency, shape (1 + n_fft // 2, n_mels)."""
    low, high = (1127.0 * math.log1p(frequency / 700.0) for frequency in (_F_MIN, _F_MAX))
    edges = torch.linspace(low, high, _N_MELS + 2, dtype=torch.float64)
    frequencies = torch.linspace(0, _RATE / 2, 1 + _N_FFT // 2, dtype=torch.float64)
    bins = 1127.0 * torch.log1p(frequencies / 700.0)[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    bank = torch.minimum(rising, falling).clamp(min=0)
    bank[0] = 0  # no weight for 0 Hz
    return bank.float()
