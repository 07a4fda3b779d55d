"""Module: a function with parameters, which are found by walking its attributes. No registration, no metaclass."""

import numpy as np

from ..autograd import Leaf, Tensor, state
from ..backend import Generator, asarray, to_numpy
from ..ops.activations import slope_of


class Parameter(Tensor):
    """A Tensor that is trained. `name` is its dotted name in the model, for messages."""

    __slots__ = ("name",)

    def __init__(self, data):
        super().__init__(data)
        self.node, self.name = Leaf(self), None


class Buffer(Tensor):
    """A Tensor that is saved with the model but not trained, such as a running mean."""

    __slots__ = ()


class Module:
    """A function with parameters: define __init__ (attributes) and forward.

    Parameters, Buffers, Generators and other Modules are found where they are: in attributes, lists, tuples and dicts,
    in order of definition, each object once. Their dotted names (`decoder.2.weight`) are those of PyTorch.
    """

    training = True

    def forward(self, *inputs):
        raise NotImplementedError(f"{type(self).__name__} has no forward(self, ...): define what calling it computes.")

    def __call__(self, *inputs, **options):
        state.modules.append(self)
        try:
            return self.forward(*inputs, **options)
        except Exception as error:
            self._note(error)
            raise
        finally:
            state.modules.pop()

    def _note(self, error):
        """Tell, once, in which layer of the outermost module the error arose: the innermost module is asked first."""
        if not hasattr(error, "in_module"):
            error.in_module = state.modules[0].path_of(self)
            error.add_note(f"in {error.in_module or 'the module'}: {type(self).__name__}({self.describe()})")

    # -------------------------------------------------------------------------------------------- what it consists of

    def _walk(self, prefix="", seen=None):
        """(dotted name, object) of everything below, depth first in order of definition, each object once."""
        seen = {id(self)} if seen is None else seen
        for name, value in vars(self).items():
            yield from _visit(prefix + name, value, seen)

    def _named(self, kind):
        return [(name, value) for name, value in self._walk() if isinstance(value, kind)]

    def named_parameters(self):
        """[(dotted name, Parameter)] of everything that is trained."""
        found = self._named(Parameter)
        for name, p in found:
            p.name = name
        return found

    def parameters(self):
        """[Parameter] of everything that is trained."""
        return [p for _, p in self.named_parameters()]

    def named_buffers(self):
        """[(dotted name, Buffer)] of what is saved but not trained."""
        return self._named(Buffer)

    def named_generators(self):
        """[(dotted name, Generator)] of the sources of randomness: dropout's, a model's own."""
        return self._named(Generator)

    def named_modules(self):
        """[(dotted name, Module)], this one first, called ""."""
        return [("", self), *self._named(Module)]

    def path_of(self, module):
        """The dotted name of a module below this one; "" where it is this one or not found."""
        return next((name for name, m in self.named_modules() if m is module), "")

    def num_parameters(self):
        """How many numbers are trained."""
        return sum(p.size for p in self.parameters())

    # -------------------------------------------------------------------------------------------- modes

    def train(self, mode=True):
        """Training mode for this and all modules below: dropout drops, batch norm uses the batch. Returns self."""
        for _, module in self.named_modules():
            module.training = mode
        return self

    def eval(self):
        """Evaluation mode: dropout passes everything, batch norm uses its running statistics. Returns self."""
        return self.train(False)

    # -------------------------------------------------------------------------------------------- saving

    def state_dict(self):
        """{dotted name: NumPy array} of parameters and buffers: copies in row-major order. Names are PyTorch's."""
        found = [*self.named_parameters(), *self.named_buffers()]
        return {name: np.array(to_numpy(t.data), order="C") for name, t in found}

    def load_state_dict(self, values):
        """Copy {dotted name: array or CPU tensor} into parameters and buffers, which must match in name and shape.

        Nothing is changed unless all fit. Raises ValueError that names everything missing, unexpected or misshapen.
        """
        own = dict([*self.named_parameters(), *self.named_buffers()])
        arrays = {name: np.asarray(v.detach() if hasattr(v, "detach") else v) for name, v in values.items()}
        wrong = [f"{n} is missing" for n in own if n not in arrays]
        wrong += [f"{n} is unexpected" for n in arrays if n not in own]
        wrong += [
            f"{n} has shape {arrays[n].shape}, expected {t.shape}"
            for n, t in own.items()
            if n in arrays and arrays[n].shape != t.shape
        ]
        if wrong:
            more = f", and {len(wrong) - 8} more" if len(wrong) > 8 else ""
            raise ValueError(f"{type(self).__name__}.load_state_dict: {'; '.join(wrong[:8])}{more}.")
        for name, t in own.items():
            t.data[...] = asarray(arrays[name], t.dtype)

    # -------------------------------------------------------------------------------------------- printing

    def describe(self):
        """The arguments, as __repr__ shows them between the brackets."""
        return ""

    def __repr__(self):
        children = [(n, v) for n, v in vars(self).items() if isinstance(v, Module) or (callable(v) and n.isdigit())]
        if not children:
            return f"{type(self).__name__}({self.describe()})"
        lines = "".join(f"\n({n}): {_repr_of(v)}".replace("\n", "\n  ") for n, v in children)
        return f"{type(self).__name__}({self.describe()}{lines}\n)"


def _repr_of(value):
    return repr(value) if isinstance(value, Module) else getattr(value, "__name__", repr(value))


def _visit(name, value, seen):
    if isinstance(value, Parameter | Buffer | Generator | Module):
        if id(value) not in seen:
            seen.add(id(value))
            yield name, value
            if isinstance(value, Module):
                yield from value._walk(name + ".", seen)
    elif isinstance(value, list | tuple):
        for i, v in enumerate(value):
            yield from _visit(f"{name}.{i}", v, seen)
    elif isinstance(value, dict):
        for k, v in value.items():
            yield from _visit(f"{name}.{k}", v, seen)


class Sequential(Module):
    """Modules and functions, one after the other. They are called "0", "1", ... as in PyTorch.

    ReLU or leaky ReLU behind a layer that can do it on the way is left to that layer: the same values, sooner.

    >>> net = Sequential(Dense(784, 128), relu, Dense(128, 10))        # doctest: +SKIP
    """

    def __init__(self, *layers):
        for i, layer in enumerate(layers):
            if not callable(layer):
                raise TypeError(f"Sequential: expected modules and functions; got {layer!r} in place {i}.")
            setattr(self, str(i), layer)

    @property
    def layers(self):
        return [v for name, v in vars(self).items() if name.isdigit()]

    def forward(self, x):
        for layer, slope in _calls(self.layers):
            x = layer(x) if slope is None else layer(x, slope=slope)
        return x

    def __getitem__(self, i):
        return self.layers[i]

    def __len__(self):
        return len(self.layers)


def _calls(layers):
    """[(layer, slope)]: a leaky ReLU is left out where the layer before it takes its slope; slope None: a call of one.

    Which layers do so their very class says, for a subclass may compute something else.
    """
    calls = []
    for layer in layers:
        slope = slope_of(layer)
        if slope is not None and calls and calls[-1][1] is None and _takes_slope(calls[-1][0]):
            calls[-1] = calls[-1][0], slope
        else:
            calls.append((layer, None))
    return calls


def _takes_slope(layer):
    return "takes_slope" in vars(type(layer)) and "forward" not in vars(layer)
