"""Reverse-mode automatic differentiation. Knows no op at all.

An op is a function on arrays, with one *vector-Jacobian product* (VJP) for each input x that has a derivative:
from the cotangent g = ∂L/∂out it computes x̄ = ∂L/∂x = gᵀ·∂out/∂x. Applying an op to a Tensor records a Node; `grad`
walks the Nodes backwards. Reading order: tensor.py (what is recorded), op.py (how), backward.py (how it is used),
functional.py (Jacobians and Hessians, made of it).
"""

from .backward import grad, no_grad, recording, unbroadcast
from .functional import hvp, jacobian, jvp
from .op import Op, op
from .state import state
from .tensor import Leaf, Node, Tensor, detach, tensor

__all__ = [
    "Leaf",
    "Node",
    "Op",
    "Tensor",
    "detach",
    "grad",
    "hvp",
    "jacobian",
    "jvp",
    "no_grad",
    "op",
    "recording",
    "state",
    "tensor",
    "unbroadcast",
]
