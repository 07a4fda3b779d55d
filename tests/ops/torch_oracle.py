"""PyTorch as a second oracle, where it is installed; a test file that imports this is skipped where it is not."""

import numpy as np
import pytest

from minigen.autograd import Tensor, grad, tensor

torch = pytest.importorskip("torch")
torch.set_num_threads(1)  # the arrays are small: a second thread only waits


def normal(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


def agree(ours, theirs, *inputs, rtol=1e-9):
    """Same value, gradient (of a random weighting) and gradient of a random weighting of the gradient."""
    floats = [i for i, x in enumerate(inputs) if x.dtype.kind == "f"]
    a = [tensor(x, requires_grad=i in floats) for i, x in enumerate(inputs)]
    b = [torch.tensor(x, requires_grad=i in floats) for i, x in enumerate(inputs)]
    y, z = ours(*[t if i in floats else t.data for i, t in enumerate(a)]), theirs(*b)
    assert y.shape == tuple(z.shape)
    close = lambda p, q: np.testing.assert_allclose(p, q, rtol=rtol, atol=1e-9 * max(1.0, np.abs(q).max(initial=0)))
    close(y.data, z.detach().numpy())
    v = normal(*y.shape, seed=1)
    first = grad((y * y * v).sum(), [a[i] for i in floats], create_graph=True)
    their_first = torch.autograd.grad((z * z * torch.tensor(v)).sum(), [b[i] for i in floats], create_graph=True)
    for p, q in zip(first, their_first):
        close(p.data, q.detach().numpy())
    w = [normal(*g.shape, seed=2) for g in first]
    second = grad(sum((g * u).sum() for g, u in zip(first, w)), [a[i] for i in floats], allow_unused=True)
    total = sum((g * torch.tensor(u)).sum() for g, u in zip(their_first, w))
    their_second = torch.autograd.grad(total, [b[i] for i in floats], allow_unused=True)
    for p, q in zip(second, their_second):
        zero = lambda t: t is None or not np.asarray(t.data if isinstance(t, Tensor) else t.detach()).any()
        if zero(p) or zero(q):
            assert zero(p)
            assert zero(q)
        else:
            close(p.data, q.detach().numpy())
