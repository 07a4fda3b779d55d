"""How it is used: `grad` walks the Nodes backwards; `no_grad` stops the recording."""

import contextlib
import operator

from ..backend import asarray, namespace
from ..backend.layout import in_memory_order
from .state import state
from .tensor import Leaf, Part, Tensor

_add = in_memory_order(operator.add)


def grad(loss, inputs, grad_outputs=None, create_graph=False, allow_unused=False):
    """∂loss/∂input for each of `inputs`: Tensors of the inputs' shapes.

    inputs: a Tensor (one Tensor is returned) or a sequence of them (a list is returned); leaves or intermediate.
    grad_outputs: the cotangent of `loss`, of its shape; needed unless the loss is a single number.
    create_graph: record the backward pass, so that the result can be differentiated again.
    allow_unused: None, instead of an error, for an input on which the loss does not depend.
    Only VJPs on a path from the loss to `inputs` run.
    """
    if isinstance(inputs, Tensor):
        return grad(loss, [inputs], grad_outputs, create_graph, allow_unused)[0]
    wanted = [_serial_of(t, i) for i, t in enumerate(inputs)]
    keep = set(wanted)
    path, useful = _path(loss.node, keep)
    cotangents = {}  # serial number of a Node -> ∂loss/∂its output, added up
    if path:
        cotangents[loss.node.serial] = _first_cotangent(loss, grad_outputs, create_graph)
    with recording(create_graph or state.recording):
        for node in path:
            g = cotangents.get(node.serial) if node.serial in keep else cotangents.pop(node.serial, None)
            if g is not None:
                _pull_back(node, g, useful, cotangents, create_graph)
    found = [cotangents.get(s) for s in wanted]
    if not allow_unused:
        for i, (t, g) in enumerate(zip(inputs, found)):
            if g is None:
                raise ValueError(
                    f"grad: the loss does not depend on {_name(t, i)} (shape {t.shape}). "
                    f"Was it cut by detach() or no_grad()? Pass allow_unused=True to get None for it."
                )
    return [g if g is None or isinstance(g, Tensor) else Tensor(g) for g in found]


def backward(loss, gradient=None, create_graph=False):
    """Add ∂loss/∂leaf to the `.grad` of every leaf that `loss` depends on. A convenience on top of `grad`."""
    if loss.node is None:
        raise ValueError("backward: the loss depends on no tensor that was made with requires_grad=True.")
    leaves = [t for n in _ancestors(loss.node).values() if type(n) is Leaf and (t := n.tensor()) is not None]
    for leaf, g in zip(leaves, grad(loss, leaves, gradient, create_graph, allow_unused=True)):
        if g is not None:
            leaf.grad = g if leaf.grad is None else leaf.grad + g


Tensor.backward = backward


def _ancestors(node, oldest=-1):
    """{serial: Node} of all Nodes that `node` depends on, itself included, not older than `oldest`."""
    seen, stack = {}, [node]
    while stack:
        n = stack.pop()
        if n is not None and n.serial >= oldest and n.serial not in seen:
            seen[n.serial] = n
            stack.extend(n.parents)
    return seen


def _path(node, wanted):
    """Pruning: the Nodes on the way from `node` to those with serials `wanted`, newest first; and all their serials."""
    seen = _ancestors(node, min(wanted, default=0))
    path, useful = [], set(wanted)
    for serial in sorted(seen):
        n = seen[serial]
        if serial in wanted:
            path.append(n)
            continue
        for p in n.parents:
            if p is not None and p.serial in useful:
                useful.add(serial)
                path.append(n)
                break
    path.reverse()
    return path, useful


def _first_cotangent(loss, grad_outputs, create_graph):
    if grad_outputs is None:
        if loss.size != 1:
            raise ValueError(
                f"grad: expected a loss that is a single number; got shape {loss.shape}. "
                f"Reduce it with .sum() or .mean(), or pass grad_outputs of that shape."
            )
        g = namespace(loss.data).ones_like(loss.data)
    else:
        g = grad_outputs if isinstance(grad_outputs, Tensor) else asarray(grad_outputs, loss.dtype)
        if g.shape != loss.shape:
            raise ValueError(f"grad: expected grad_outputs of shape {loss.shape}, as the loss; got {g.shape}.")
    if create_graph:
        return g if isinstance(g, Tensor) else Tensor(g)
    return g.data if isinstance(g, Tensor) else g


def _serial_of(t, i):
    if not isinstance(t, Tensor) or t.node is None:
        raise ValueError(f"grad: {_name(t, i)} has no gradient. Make it with tensor(..., requires_grad=True).")
    return t.node.serial


def _pull_back(node, g, useful, cotangents, create_graph):
    """Add this Node's contributions to the cotangents of its parents."""
    if type(node) is Part:  # one place of the tuple of cotangents that the op's VJPs will receive
        cotangents.setdefault(node.parents[0].serial, [None] * node.count)[node.index] = g
        return
    if not node.edges:  # a leaf
        return
    if state.watcher is not None:
        state.watcher.before_vjps((node, g, useful))
    op = node.op
    values = _Values(node, g, create_graph) if create_graph or op.shared else node.saved
    for parent, (i, f, wants, _), shape in node.edges:
        serial = parent.serial
        if serial not in useful:
            continue
        try:
            contribution = f(g, *[values[name] for name in wants])
            if contribution is None:  # no cotangent came to the outputs that depend on this input
                continue
            if contribution.shape != shape:
                contribution = unbroadcast(contribution, shape)
        except Exception as error:
            error.add_note(f"in the VJP of {op} for {op.input_name(i)!r}")
            raise
        if state.watcher is not None:
            state.watcher.after_vjp(node, i, contribution)
        cotangents[serial] = _add(cotangents[serial], contribution) if serial in cotangents else contribution


class _Values(dict):
    """What the VJPs of a Node may ask for: what was saved, and shared quantities, computed when first asked for.

    With create_graph, saved arrays become Tensors of the graph again, so that the VJPs are recorded. (Nodes keep no
    Tensors: the output could not be kept so without closing a reference cycle.)
    """

    def __init__(self, node, g, create_graph):
        super().__init__(node.saved)
        self.rules, self.g = node.op.rules, g
        if create_graph:
            self._attach(node)

    def _attach(self, node):
        op = node.op
        for parent, (i, *_), _ in node.edges:
            if op.variadic:
                name = op.inputs[0]
                if name in self:
                    self[name] = (*self[name][:i], Tensor(self[name][i], parent), *self[name][i + 1 :])
            elif op.inputs[i] in self:
                self[op.inputs[i]] = Tensor(self[op.inputs[i]], parent)
        if "out" in self:
            out = self["out"]
            if type(out) is tuple:
                self["out"] = tuple(Tensor(v, Part(node, i, len(out))) for i, v in enumerate(out))
            else:
                self["out"] = Tensor(out, node)

    def __missing__(self, name):
        _, f, wants, _ = self.rules[name]
        self[name] = f(self.g, *[self[w] for w in wants])
        return self[name]


def unbroadcast(g, shape):
    """Sum `g` over the axes along which an array of this shape was broadcast: the adjoint of broadcasting."""
    extra = len(g.shape) - len(shape)
    if extra < 0 or any(n not in (1, m) for n, m in zip(shape, g.shape[extra:])):
        raise ValueError(
            f"a VJP returned a gradient of shape {g.shape} for an input of shape {shape}: it must have that shape, "
            f"or one that broadcasting makes of it."
        )
    axes = (*range(extra), *(i + extra for i, n in enumerate(shape) if n == 1 and g.shape[i + extra] != 1))
    return g.sum(axis=axes).reshape(shape)


@contextlib.contextmanager
def recording(on):
    """Record what happens inside, or do not."""
    before, state.recording = state.recording, on
    try:
        yield
    finally:
        state.recording = before


def no_grad():
    """`with no_grad():` or `@no_grad()`: nothing inside is recorded, so nothing inside can be differentiated."""
    return recording(False)


def _name(t, i):
    return repr(getattr(t, "name", None) or f"inputs[{i}]")
