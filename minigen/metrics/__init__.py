"""Likelihoods, distances, coverage."""

from .evaluate import evaluate, pca_error
from .judge import Verdict, judge
from .likelihood import importance_nll
