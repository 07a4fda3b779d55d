"""Likelihoods, distances, coverage."""

from .diversity import diversity, nearest_distance
from .evaluate import evaluate, pca_error
from .judge import Verdict, judge
from .likelihood import importance_nll
