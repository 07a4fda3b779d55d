"""What an op costs beyond its arithmetic: chains of one op on 8×8 arrays, as Tensors and as bare arrays."""

import statistics
import time

import numpy as np

from .. import ops
from ..autograd import grad, tensor

LENGTH, ROUNDS = 100, 300  # ops in a chain; chains, of which the median counts
OPS = {"x + y": ops.add, "x * y": ops.mul, "exp x": ops.exp, "tanh x": ops.tanh, "relu x": ops.relu}


def report():
    """Print the table, and return its rows: µs per op."""
    print(f"{'µs per op, 8×8 float32':<24}{'forward':>22}{'forward and backward':>26}")
    print(f"{'':<24}{'all':>11}{'overhead':>11}{'all':>15}{'overhead':>11}")
    rows = [measure(name, op) for name, op in OPS.items()]
    for row in rows:
        forward, both = row["forward"], row["forward_backward"]
        print(
            f"{row['name']:<24}{forward['all']:>11.2f}{forward['overhead']:>11.2f}"
            f"{both['all']:>15.2f}{both['overhead']:>11.2f}"
        )
    print("\noverhead: all, less what the same forward functions and VJPs take when called on bare arrays.")
    return rows


def measure(name, op):
    """The row of one op."""
    array = np.full((8, 8), 0.5, np.float32)
    others = [np.full((8, 8), 0.9, np.float32)] * (op.arity - 1)
    x = tensor(array, requires_grad=True)

    def chain():
        y = x
        for _ in range(LENGTH):
            y = op(y, *others)
        return y

    def bare_chain():
        outputs = [array]
        for _ in range(LENGTH):
            outputs.append(op.forward(outputs[-1], *others))
        return outputs

    _, vjp, wants, _ = op.vjps[0]
    ones = np.ones_like(array)

    def bare_both():
        outputs, g = bare_chain(), ones
        for before, out in zip(outputs[-2::-1], outputs[:0:-1]):
            known = dict(zip(op.inputs, (before, *others)), out=out)
            g = vjp(g, *[known[w] for w in wants])
        return g

    with np.errstate(over="ignore"):  # exp of exp of exp
        times = alternate(chain, bare_chain, lambda: grad(chain(), x, ones), bare_both)
    forward, bare_forward, both, bare = (t / LENGTH for t in times)
    return {
        "name": name,
        "forward": {"all": forward, "overhead": forward - bare_forward},
        "forward_backward": {"all": both, "overhead": both - bare},
    }


def alternate(*functions):
    """The median time of each function, µs, taken in turn."""
    times = [[] for _ in functions]
    for _ in range(ROUNDS):
        for f, t in zip(functions, times):
            began = time.perf_counter()
            f()
            t.append(time.perf_counter() - began)
    return [1e6 * statistics.median(t) for t in times]
