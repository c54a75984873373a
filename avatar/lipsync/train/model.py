"""The lip model in torch, as it is trained; `avatar.lipsync.network` is its streaming twin in numpy."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from avatar.lipsync.features import MEL_BANDS
from avatar.lipsync.network import STEP
from core.frames import VISEMES

DILATIONS = (1, 2, 4, 8, 1, 2, 4, 8)


class CausalConv(nn.Module):
    """Convolution that sees the past only, then batch normalisation and ReLU; shapes (batch, channels, steps)."""

    def __init__(self, inputs: int, outputs: int, taps: int, dilation: int) -> None:
        super().__init__()
        self.past = (taps - 1) * dilation
        self.conv = nn.Conv1d(inputs, outputs, taps, dilation=dilation, bias=False)
        self.norm = nn.BatchNorm1d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Same number of steps as `x`; before its beginning lie zeros."""
        return torch.relu(self.norm(self.conv(nn.functional.pad(x, (self.past, 0)))))


class ResidualBlock(nn.Module):
    """x + mix(dropout(relu(conv(x))))."""

    def __init__(self, width: int, taps: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.conv = CausalConv(width, width, taps, dilation)
        self.dropout = nn.Dropout(dropout)
        self.mix = nn.Conv1d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Shape as `x`."""
        mixed: Tensor = self.mix(self.dropout(self.conv(x)))
        return x + mixed


class LipNetwork(nn.Module):
    """Log-mel frames to viseme logits, delayed by the look-ahead."""

    mean: Tensor
    scale: Tensor

    def __init__(
        self, width: int = 80, dilations: tuple[int, ...] = DILATIONS, *, taps: int = 3, dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.dilations = dilations
        self.register_buffer("mean", torch.zeros(MEL_BANDS))
        self.register_buffer("scale", torch.ones(MEL_BANDS))
        self.input = CausalConv(STEP * MEL_BANDS, width, taps, 1)
        self.blocks = nn.ModuleList(ResidualBlock(width, taps, dilation, dropout) for dilation in dilations)
        self.head = nn.Conv1d(width, STEP * len(VISEMES), 1)

    def forward(self, mel: Tensor) -> Tensor:
        """`mel`: (batch, frames, 40), an even number of frames; logits (batch, frames, 15)."""
        batch, frames, _ = mel.shape
        x = (mel - self.mean) * self.scale
        x = x.reshape(batch, frames // STEP, STEP * MEL_BANDS).transpose(1, 2)
        x = self.input(x)
        for block in self.blocks:
            x = block(x)
        logits: Tensor = self.head(x)
        return logits.transpose(1, 2).reshape(batch, frames, len(VISEMES))
