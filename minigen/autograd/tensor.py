"""What is recorded: Tensor, an array and the Node that made it; Node, one application of one op."""

import itertools
import operator
import weakref

import numpy as np

from ..backend import asarray, to_numpy

_serial = itertools.count()


class Tensor:
    """An array, and the Node that made it (None: a constant). Operators and methods are the ops of `minigen.ops`.

    data: the NumPy or CuPy array.  grad: filled by `backward()` for the tensors that were made with
    requires_grad=True.
    """

    __slots__ = ("__weakref__", "data", "grad", "node")
    __array_ufunc__ = None  # `array + tensor` is left to Tensor.__radd__

    def __init__(self, data, node=None):
        self.data, self.node, self.grad = data, node, None

    shape = property(lambda t: t.data.shape)
    ndim = property(lambda t: t.data.ndim)
    dtype = property(lambda t: t.data.dtype)
    size = property(lambda t: t.data.size)
    requires_grad = property(lambda t: t.node is not None)

    def detach(self):
        """The same array, cut from the graph: a constant."""
        return Tensor(self.data)

    def numpy(self):
        """The values as a NumPy array (the same memory on the CPU, a copy from the GPU). Do not write to it."""
        return to_numpy(self.data)

    def item(self):
        """The Python number of a tensor that holds one."""
        return self.data.item()

    def tolist(self):
        return self.data.tolist()

    def __array__(self, dtype=None, copy=None):
        if not isinstance(self.data, np.ndarray | np.generic):
            raise TypeError("np.asarray(tensor): this tensor is on the GPU; copy it by name with tensor.numpy().")
        return np.array(self.data, dtype=dtype, copy=copy)

    def __dlpack__(self, **options):
        return np.asanyarray(self.data).__dlpack__(**options) if _on_host(self) else self.data.__dlpack__(**options)

    def __dlpack_device__(self):
        return np.asanyarray(self.data).__dlpack_device__() if _on_host(self) else self.data.__dlpack_device__()

    def __len__(self):
        return len(self.data)

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    def __bool__(self):
        return bool(self.data)

    def __float__(self):
        return float(self.data.item())

    def __int__(self):
        return int(self.data.item())

    def __index__(self):
        return operator.index(self.data.item())

    def __format__(self, spec):
        return format(self.data.item(), spec) if self.data.ndim == 0 and spec else repr(self)

    def __setitem__(self, index, value):
        raise TypeError(
            "tensor[...] = value: tensors are not changed in place, because backward may still need the old values. "
            "Use where(mask, value, tensor), or change tensor.data before it is used."
        )

    def __repr__(self):
        values = np.array2string(to_numpy(self.data), precision=4, separator=", ", threshold=60, edgeitems=2)
        shape = f", shape={self.shape}" if self.size > 60 else ""
        made = "" if self.node is None else ", requires_grad" if self.node.op is None else f", from {self.node.op}"
        return f"tensor({values.replace(chr(10), chr(10) + ' ' * 7)}, {self.dtype}{shape}{made})"


def _on_host(t):
    return isinstance(t.data, np.ndarray | np.generic)


def tensor(data, requires_grad=False, dtype=None):
    """A Tensor from numbers, lists, arrays or another Tensor, on the default device.

    Python floats become float32; arrays keep their dtype (and, on their own device, their memory).

    >>> tensor([1.0, 2.0])
    tensor([1., 2.], float32)
    """
    t = Tensor(asarray(data.data if isinstance(data, Tensor) else data, dtype))
    if requires_grad:
        if t.dtype.kind != "f":
            raise TypeError(f"tensor: only floats have gradients; got {t.dtype}. Pass dtype='float32'.")
        t.node = Leaf(t)
    return t


class Node:
    """One application of one op: what is needed to pull a cotangent back to its inputs.

    A Node knows its parents, never its output: no reference cycle, so the graph dies with the loss.
    Serial numbers grow, so decreasing serial is an order in which every Node comes before its parents.
    """

    __slots__ = ("__weakref__", "debug", "edges", "op", "parents", "saved", "serial")

    def __init__(self, op, parents, edges, saved):
        self.op = op
        self.parents = parents  # the Node of each input; None: a constant
        self.edges = edges  # [(parent, its VJP, the input's shape)] of the inputs through which a cotangent flows
        self.saved = saved  # {name: value} of what those VJPs ask for: arrays, shapes, options; never a Tensor
        self.serial, self.debug = next(_serial), None


class Leaf(Node):
    """Where the graph begins: a tensor that was made with requires_grad=True."""

    __slots__ = ("tensor",)

    def __init__(self, t):
        super().__init__(None, (), (), {})
        self.tensor = weakref.ref(t)


class Part(Node):
    """Output number `index` of the `count` outputs of a Node whose op returns a tuple."""

    __slots__ = ("count", "index")

    def __init__(self, node, index, count):
        super().__init__(node.op, (node,), (), {})
        self.index, self.count = index, count


def detach(x):
    """`x` as a constant: the same values, cut from the graph."""
    return x.detach() if isinstance(x, Tensor) else x
