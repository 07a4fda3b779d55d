"""Optimisers over flat storage, learning-rate schedules, gradient clipping, averages of weights."""

from . import schedules
from .averages import EMA, clip_grad_norm, global_norm
from .optimizers import SGD, Adam, AdamW, Momentum, Optimizer, RMSprop
from .scaling import LossScale
