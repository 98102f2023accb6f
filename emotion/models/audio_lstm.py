"""A residual bidirectional LSTM with attention over time."""

import torch
from torch import Tensor, nn

from emotion.config.branch import Pooling
from emotion.config.fields import Count, Dropout
from emotion.features.base import frame_mask
from emotion.models.base import FeatureBackbone
from emotion.models.pooling import StatisticsPooling


class AudioLstm(FeatureBackbone):
    """Project each frame, run bidirectional LSTMs whose output is added to their input, pool over time.

    Args:
        num_features: Of a frame.
        width: Of a frame inside the network; even, since each direction gives half of it.
        kernel: Frames that the projection sees at once; odd.
        stride: Frames from one projection to the next.
        layers: LSTMs, each with layer normalisation before it and a residual connection around it.
        dropout: Of a frame's values after the projection and after each LSTM, in [0, 1).
        pooling: `attention` or `mean`, see `StatisticsPooling`.
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
        rows = self.dropout(self.project(features).transpose(1, 2))
        frames = (frames - 1) // self.stride + 1
        for norm, lstm in zip(self.norms, self.lstms, strict=True):
            rows = rows + self.dropout(lstm(norm(rows), frames))
        return rows.transpose(1, 2), frames


class _Lstm(nn.LSTM):
    """An LSTM of one layer, whose weights have types."""

    weight_ih_l0: Tensor
    weight_hh_l0: Tensor
    bias_ih_l0: Tensor
    bias_hh_l0: Tensor


class _BidirectionalLstm(nn.Module):
    """Both directions over padded items, the backward one from each item's own end.

    Packed sequences would do the same; on a CPU they are much slower than turning each item round.
    """

    def __init__(self, width: Count) -> None:
        super().__init__()
        self.forwards = _Lstm(width, width // 2, batch_first=True)
        self.backwards = _Lstm(width, width // 2, batch_first=True)

    def forward(self, rows: Tensor, frames: Tensor) -> Tensor:
        """Shape (B, N, width) to the same; frames beyond an item's own come out as anything."""
        position = torch.arange(rows.shape[1], device=rows.device)
        inside = frame_mask(frames, rows.shape[1])
        turned = torch.where(inside, frames[:, None] - 1 - position, position)[..., None].expand_as(rows)
        backward = _run(self.backwards, rows.gather(1, turned))
        backward = backward.gather(1, turned[..., : backward.shape[2]])
        return torch.cat([_run(self.forwards, rows), backward], dim=2)


def _run(lstm: _Lstm, rows: Tensor) -> Tensor:
    """What an LSTM makes of `rows`, shape (B, N, width); shape (B, N, width / 2)."""
    if not torch.compiler.is_exporting():
        return lstm(rows)[0]
    # Exported as it is, an LSTM would be unrolled over as many frames as the example has.
    from torch._higher_order_ops.scan import scan

    gates = nn.functional.linear(rows, lstm.weight_ih_l0, lstm.bias_ih_l0 + lstm.bias_hh_l0).transpose(0, 1)

    def step(state: tuple[Tensor, Tensor], gate: Tensor) -> tuple[tuple[Tensor, Tensor], Tensor]:
        hidden, cell = state
        enter, forget, new, leave = (gate + hidden @ lstm.weight_hh_l0.T).chunk(4, dim=1)
        cell = forget.sigmoid() * cell + enter.sigmoid() * new.tanh()
        hidden = leave.sigmoid() * cell.tanh()
        return (hidden, cell), hidden.clone()

    nothing = gates.new_zeros(rows.shape[0], lstm.hidden_size)
    return scan(step, (nothing, nothing.clone()), gates, dim=0)[1].transpose(0, 1)
