"""Derivatives of functions, all made of reverse passes: `jvp` (forward mode), `hvp` (Hessian times vector), `jacobian`.

Names, order of arguments and results are those of torch.autograd.functional. `f` is called with fresh Tensors in place
of the inputs, so the derivatives are those with respect to its arguments, even where one tensor is given for two of
them. Whatever else `f` uses, such as the weights of a Module, is a constant to them.
"""

from ..backend import asarray, namespace
from .backward import grad, recording
from .op import op
from .tensor import Leaf, Tensor, tensor


@recording(True)
def jvp(f, inputs, tangents, create_graph=False):
    """(f(x), J·v): the value of f, and its derivative in the direction v.

    Forward mode from two reverse passes. The first computes h(u) = Jᵀu for a cotangent u. In u this is a linear
    function, with the matrix Jᵀ; so to pull v back through it, which the second does, gives (Jᵀ)ᵀv = J·v.
    The value of u plays no part.

    inputs: a Tensor or array of floats; or a tuple or list of them, with which f is called as f(*inputs).
    tangents: v, of the shapes of the inputs.
    f: returns a Tensor of floats, or a tuple of them; so are the value and J·v.
    create_graph: record the result, so that it can be differentiated again: with respect to inputs and tangents that
    belong to a graph, and to whatever else f uses.
    Where the output does not depend on an input, that input adds nothing: J·v may be zeros, and is no error.
    Raises ValueError for tangents of other shapes and for VJPs that cut the graph, TypeError for what is no float.
    Source: Townsend 2017, A new trick for calculating Jacobian vector products.

    >>> jvp(lambda x: x**3, np.array([1.0, 2.0]), np.array([1.0, 0.5]))[1].tolist()
    [3.0, 6.0]
    """
    xs = _arguments("jvp", inputs, create_graph)
    vs = _directions("jvp", "tangents", tangents, xs)
    out = f(*xs)
    ys = [_checked("jvp", y) for y in _listed(out)]
    us = [_leaf(namespace(y.data).ones_like(y.data)) for y in ys]
    pulled = _pull(ys, us, xs, create_graph=True)
    for i, p in enumerate(pulled):
        if p.node is None and p.data.any():  # Jᵀu is not 0, and yet no function of u
            raise ValueError(
                f"jvp: expected VJPs differentiable in g; got one that cuts the graph on the way to inputs[{i}]. "
                f"Write it with operators, methods and ops; gradcheck says which it is."
            )
    slopes = _pull(pulled, vs, us, create_graph)
    values = ys if create_graph else [y.detach() for y in ys]
    return (tuple(values), tuple(slopes)) if isinstance(out, tuple | list) else (values[0], slopes[0])


@recording(True)
def hvp(f, inputs, vectors, create_graph=False):
    """(f(x), H·v): the value of f, a single number, and its matrix of second derivatives times v.

    H·v = ∇⟨∇f(x), v⟩ for a constant v: two reverse passes, whatever the size of H.

    inputs, vectors, create_graph: as for `jvp`.  H·v: a Tensor, or a list for several inputs, of their shapes; zeros
    for an input that appears in no second derivative. A VJP that cuts the graph looks like one; gradcheck tells.
    Raises ValueError for vectors of other shapes and where f(x) is not a single number, TypeError for what is no float.
    Source: Pearlmutter 1994, Fast exact multiplication by the Hessian.

    >>> hvp(lambda x: (x**3).sum(), np.array([1.0, 2.0]), np.array([1.0, 10.0]))[1].tolist()
    [6.0, 120.0]
    """
    xs = _arguments("hvp", inputs, create_graph)
    vs = _directions("hvp", "vectors", vectors, xs)
    y = _checked("hvp", f(*xs))
    if y.size != 1:
        raise ValueError(
            f"hvp: expected f to return a single number; got shape {y.shape}. Reduce it with .sum() or .mean()."
        )
    gradients = _pull([y], [Tensor(namespace(y.data).ones_like(y.data))], xs, create_graph=True)
    products = _pull(gradients, vs, xs, create_graph)
    return y if create_graph else y.detach(), _like(inputs, products)


@recording(True)
def jacobian(f, inputs, create_graph=False):
    """∂f/∂x, every element of it: one reverse pass for each element of f(x).

    inputs, create_graph: as for `jvp`; with create_graph jacobians nest.  f: returns one Tensor of floats.
    Shapes: f(x).shape + x.shape; a list of Tensors for several inputs. Zeros for an input that f(x) does not depend on.
    Raises TypeError for what is no float.

    The Hessian is the jacobian of the gradient:

    >>> gradient = lambda x: grad((x**3).sum(), x, create_graph=True)
    >>> jacobian(gradient, np.array([1.0, 2.0])).tolist()
    [[6.0, 0.0], [0.0, 12.0]]
    """
    xs = _arguments("jacobian", inputs, create_graph)
    y = _checked("jacobian", f(*xs))
    zeros = [_zeros(x) for x in xs]  # so that there is something to join where f(x) has no elements
    rows = [zeros] + [_pull([y], [_unit(y, i)], xs, create_graph) for i in range(y.size)]
    return _like(inputs, [_stack(*column)[1:].reshape(y.shape + x.shape) for column, x in zip(zip(*rows), xs)])


def _pull(outputs, cotangents, inputs, create_graph):
    """Jᵀu: a Tensor for each input; zeros for one on which no output depends."""
    terms = [(y * u).sum() for y, u in zip(outputs, cotangents)]
    if not terms:  # f has no inputs, or returns ()
        return [_zeros(x) for x in inputs]
    try:
        found = grad(sum(terms), inputs, None, create_graph, allow_unused=True)
    except Exception as error:
        if create_graph:
            error.add_note(
                "Here VJPs receive Tensors, to be differentiated: only operators, methods and ops take them."
            )
        raise
    return [_zeros(x) if g is None else g for g, x in zip(found, inputs)]


def _arguments(name, inputs, create_graph):
    """What f is called with: the inputs' values, as leaves, or with create_graph as part of the inputs' own graph."""
    xs = [x if isinstance(x, Tensor) else tensor(x) for x in _listed(inputs)]
    for i, x in enumerate(xs):
        if x.dtype.kind != "f":
            raise TypeError(
                f"{name}: expected inputs of floats; got {x.dtype} for inputs[{i}]. "
                f"Convert it with .astype('float32'), or, if it is no variable, let f hold it: lambda x: f(x, labels)."
            )
    return [_same(x) if create_graph and x.node is not None else _leaf(x.data) for x in xs]


def _directions(name, what, given, xs):
    """`given` as Tensors with the shapes and dtypes of xs."""
    vs = [v if isinstance(v, Tensor) else Tensor(asarray(v)) for v in _listed(given)]
    shapes, expected = [v.shape for v in vs], [x.shape for x in xs]
    if shapes != expected:
        raise ValueError(f"{name}: expected {what} of the inputs' shapes {expected}; got {shapes}.")
    return [v if v.dtype == x.dtype else v.astype(x.dtype) for v, x in zip(vs, xs)]


def _checked(name, y):
    """y, once it is clear that it is a Tensor of floats."""
    if not isinstance(y, Tensor):
        raise TypeError(
            f"{name}: expected f to return a Tensor; got {type(y).__name__}. "
            + ("Differentiate one of them at a time." if isinstance(y, tuple | list) else "Was .data taken inside?")
        )
    if y.dtype.kind != "f":
        raise TypeError(f"{name}: expected f to return floats; got {y.dtype}, which has no derivative. Leave it out.")
    return y


def _unit(y, i):
    """The cotangent that picks element i of y."""
    e = namespace(y.data).zeros(y.size, y.dtype)
    e[i] = 1
    return Tensor(e.reshape(y.shape))


def _zeros(x):
    return Tensor(namespace(x.data).zeros_like(x.data))


def _leaf(array):
    t = Tensor(array)
    t.node = Leaf(t)
    return t


def _listed(values):
    return list(values) if isinstance(values, tuple | list) else [values]


def _like(inputs, results):
    """A list for several inputs, one Tensor for one, as `grad` does."""
    return results if isinstance(inputs, tuple | list) else results[0]


@op(x=lambda g: g)
def _same(x):
    return x


@op(xs=lambda g, i: g[i])
def _stack(*xs):
    return namespace(xs[0]).stack(xs)
