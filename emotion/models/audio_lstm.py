"""Residual bidirectional LSTM over audio features."""

import torch
from torch import Tensor, nn

from emotion.batch import frame_mask
from emotion.config.branch import Pooling
from emotion.config.fields import Count, Dropout
from emotion.models.base import FeatureBackbone
from emotion.models.pooling import StatisticsPooling


class AudioLstm(FeatureBackbone):
    """A convolution, bidirectional LSTMs with residual connections, and pooling over time.

    Args:
        num_features: Number of features of a frame.
        width: Size of a frame embedding; even, since each direction has half of it.
        kernel: Kernel size of the convolution, in frames; odd.
        stride: Stride of the convolution, in frames.
        layers: Number of LSTMs, each with layer normalisation before it and a residual connection around it.
        dropout: Dropout probability after the convolution and after each LSTM, in [0, 1).
        pooling: `attention`, `mean` or `average`, see `StatisticsPooling`.
    """

    def __init__(
        self,
        num_features: int,
        width: Count = 128,
        kernel: Count = 5,
        stride: Count = 1,
        layers: Count = 2,
        dropout: Dropout = 0.5,
        pooling: Pooling = "attention",
    ) -> None:
        super().__init__()
        self.project = nn.Conv1d(num_features, width, kernel, stride, padding=kernel // 2)
        self.stride = stride
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(layers))
        self.lstms = nn.ModuleList(_BidirectionalLstm(width) for _ in range(layers))
        self.dropout = nn.Dropout(dropout)
        self.frame_dim, self.pool = width, StatisticsPooling(width, pooling)
        self.embed_dim = self.pool.embed_dim

    def encode_frames(self, features: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
        """See `FeatureBackbone.encode_frames`."""
        embedded = self.dropout(self.project(features).transpose(1, 2))
        frames = (frames - 1) // self.stride + 1
        for norm, lstm in zip(self.norms, self.lstms, strict=True):
            embedded = embedded + self.dropout(lstm(norm(embedded), frames))
        return embedded.transpose(1, 2), frames


class _Lstm(nn.LSTM):
    """An LSTM of one layer, whose weights have types."""

    weight_ih_l0: Tensor
    weight_hh_l0: Tensor
    bias_ih_l0: Tensor
    bias_hh_l0: Tensor


class _BidirectionalLstm(nn.Module):
    """A bidirectional LSTM over padded items; the backward direction starts at the end of each item.

    Packed sequences give the same result, but are much slower on a CPU than reversing each item.
    """

    def __init__(self, width: Count) -> None:
        super().__init__()
        self.forwards = _Lstm(width, width // 2, batch_first=True)
        self.backwards = _Lstm(width, width // 2, batch_first=True)

    def forward(self, embedded: Tensor, frames: Tensor) -> Tensor:
        """Return outputs of the shape of the input, (B, N, width); values beyond an item's own frames are arbitrary."""
        position = torch.arange(embedded.shape[1], device=embedded.device)
        inside = frame_mask(frames, embedded.shape[1])
        reverse = torch.where(inside, frames[:, None] - 1 - position, position)[..., None].expand_as(embedded)
        backward = _run(self.backwards, embedded.gather(1, reverse))
        backward = backward.gather(1, reverse[..., : backward.shape[2]])
        return torch.cat([_run(self.forwards, embedded), backward], dim=2)


def _run(lstm: _Lstm, embedded: Tensor) -> Tensor:
    """Return the outputs of an LSTM, shape (B, N, width / 2), for inputs of shape (B, N, width)."""
    if not torch.compiler.is_exporting():
        return lstm(embedded)[0]
    # torch.export would unroll nn.LSTM over the frames of the example.
    from torch._higher_order_ops.scan import scan

    gates = nn.functional.linear(embedded, lstm.weight_ih_l0, lstm.bias_ih_l0 + lstm.bias_hh_l0).transpose(0, 1)

    def step(state: tuple[Tensor, Tensor], gate: Tensor) -> tuple[tuple[Tensor, Tensor], Tensor]:
        hidden, cell = state
        enter, forget, new, leave = (gate + hidden @ lstm.weight_hh_l0.T).chunk(4, dim=1)
        cell = forget.sigmoid() * cell + enter.sigmoid() * new.tanh()
        hidden = leave.sigmoid() * cell.tanh()
        return (hidden, cell), hidden.clone()

    zeros = gates.new_zeros(embedded.shape[0], lstm.hidden_size)
    return scan(step, (zeros, zeros.clone()), gates, dim=0)[1].transpose(0, 1)
