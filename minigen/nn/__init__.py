"""Modules, initialisers and layers."""

from . import init
from .layers import (
    AvgPool2d,
    Conv2d,
    ConvTranspose2d,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    MaxPool2d,
    MaxUnpool2d,
    Reshape,
    Upsample,
)
from .module import Buffer, Module, Parameter, Sequential
from .norms import BatchNorm, BatchNorm1d, BatchNorm2d, GroupNorm, InstanceNorm2d, LayerNorm, SpectralNorm
