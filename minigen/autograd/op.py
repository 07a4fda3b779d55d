"""How it is recorded: `@op` makes a differentiable function of a function on arrays and its named VJPs."""

import inspect
from types import MethodType
from typing import NamedTuple

import numpy as np

from .state import state
from .tensor import Node, Part, Tensor

TORCH_NAMES = {"dim": "axis", "keepdim": "keepdims", "input": "x"}  # accepted as keywords by every op


class Rule(NamedTuple):
    """A VJP, as `grad` finds it."""

    i: int | None  # the number of the input; None for a shared quantity
    f: object  # f(g, *wants) -> the cotangent of the input
    wants: list  # the names of its arguments after g
    keeps: list  # the names of what must be saved for it


class Op:
    """A differentiable function; made by the decorator `op`, which explains it."""

    def __init__(self, forward, rules):
        self.forward, self.__name__, self.__doc__ = forward, forward.__name__, forward.__doc__
        self.__module__, self.__wrapped__ = forward.__module__, forward
        parameters = list(inspect.signature(forward).parameters.values())
        inputs = [p for p in parameters if p.kind is not p.KEYWORD_ONLY]
        self.inputs = [p.name for p in inputs]
        self.options = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
        if "out" in self.inputs or "out" in self.options:
            raise TypeError(f"op {self.__name__!r}: in a VJP, 'out' is the result; call the argument something else.")
        self.variadic = inputs[-1].kind is inputs[-1].VAR_POSITIONAL
        self.arity = len(inputs)
        # Callers may give options by position too, as PyTorch's do.
        self.__signature__ = inspect.Signature(
            [p.replace(kind=p.POSITIONAL_OR_KEYWORD) for p in parameters] if not self.variadic else parameters
        )
        self.fetchers = self._fetchers()
        self.shared = rules.keys() - set(self.inputs)
        self.rules = {name: self._rule(name, f, rules) for name, f in rules.items()}
        unused = self.shared - {w for rule in self.rules.values() for w in rule.wants}
        if unused:
            raise TypeError(
                f"op {self.__name__!r}: a rule is given for {sorted(unused)}, but the inputs are {self.inputs}, "
                f"and no VJP asks for a shared quantity of that name."
            )
        self.vjps = [self.rules.get(name) for name in self.inputs]

    def wrap(self, decorate):
        """Put decorate(f) in the place of the function and of each VJP."""
        self.forward = decorate(self.forward)
        self.rules = {name: rule._replace(f=decorate(rule.f)) for name, rule in self.rules.items()}
        self.vjps = [self.rules.get(name) for name in self.inputs]

    def _fetchers(self):
        """{name that a VJP may ask for: function (arrays, options, out) -> what is saved for it}."""
        fetchers = {"out": lambda arrays, options, out: out}
        for name, default in self.options.items():
            fetchers[name] = lambda arrays, options, out, name=name, default=default: options.get(name, default)
        for i, name in enumerate(self.inputs):
            if self.variadic:
                fetchers[name] = lambda arrays, options, out: tuple(arrays)
                fetchers[name + "_shape"] = lambda arrays, options, out: [a.shape for a in arrays]
            else:
                fetchers[name] = lambda arrays, options, out, i=i: arrays[i]
                fetchers[name + "_shape"] = lambda arrays, options, out, i=i: arrays[i].shape
        return fetchers

    def _rule(self, name, f, rules):
        wants = list(inspect.signature(f).parameters)[1:]
        keeps = [w for w in wants if w not in self.shared]
        known = self.fetchers.keys() | ({"i"} if self.variadic else set())
        for w in set(keeps) - known:
            may = sorted(known | self.shared)
            raise TypeError(f"op {self.__name__!r}: the VJP for {name!r} asks for {w!r}; it may ask for {may}.")
        for w in self.shared & set(wants):
            keeps += list(inspect.signature(rules[w]).parameters)[1:]
        return Rule(self.inputs.index(name) if name in self.inputs else None, f, wants, keeps)

    def _bind(self, args, options):
        """Arguments in any of Python's spellings -> (inputs by position, options by name)."""
        options = {TORCH_NAMES.get(k, k) if k not in self.options else k: v for k, v in options.items()}
        by_position = dict(zip(self.options, args[self.arity :]))
        if (  # softmax(x, 1), sum(x, dim=0): the common spellings, without the cost of inspect's Signature.bind
            not self.variadic
            and 0 <= len(args) - self.arity == len(by_position)
            and not by_position.keys() & options.keys()
            and options.keys() <= self.options.keys()
        ):
            return args[: self.arity], by_position | options
        try:
            bound = self.__signature__.bind(*args, **options)
        except TypeError as error:
            raise TypeError(f"{self.__name__}{self.__signature__}: {error}.") from None
        bound.apply_defaults()
        values = bound.arguments
        if self.variadic:
            return values[self.inputs[0]], {name: values[name] for name in self.options}
        return [values[name] for name in self.inputs], {name: values[name] for name in self.options}

    def __call__(self, *args, **options):
        if (len(args) != self.arity and not self.variadic) or (options and not options.keys() <= self.options.keys()):
            args, options = self._bind(args, options)
        for a in args:
            if isinstance(a, Tensor):
                break
        else:  # arrays only, as in the VJPs of ordinary training: nothing to record
            return self.forward(*args, **options)
        arrays, parents, live = [], [], False
        for a in args:
            if isinstance(a, Tensor):
                arrays.append(a.data)
                parents.append(node := a.node)
                if node is not None:
                    live = True
            else:
                # np.sqrt(2) is a float64 scalar: taken as the number it is, it cannot turn float32 into float64.
                arrays.append(a.item() if isinstance(a, np.generic) else a)
                parents.append(None)
        try:
            out = self.forward(*arrays, **options)
        except Exception as error:
            error.add_note(f"in {self.describe(arrays, options)}")
            raise
        node = self._record(arrays, parents, options, out) if live and state.recording else None
        if state.watcher is not None:
            state.watcher.forward(self, out, (arrays, options, node))
        if type(out) is tuple:
            return tuple(Tensor(o, node and Part(node, i, len(out))) for i, o in enumerate(out))
        return Tensor(out, node)

    def _record(self, arrays, parents, options, out):
        """The Node of this call. Only what a VJP that can run names is saved."""
        vjps = self._variadic_vjps(len(arrays)) if self.variadic else self.vjps
        edges, saved, fetchers = [], {}, self.fetchers
        for a, parent, vjp in zip(arrays, parents, vjps):
            if parent is not None and vjp is not None:
                edges.append((parent, vjp, a.shape))
                for name in vjp.keeps:
                    if name not in saved:
                        saved[name] = fetchers[name](arrays, options, out)
        return Node(self, parents, edges, saved)

    def _variadic_vjps(self, n):
        """One rule for all the inputs: `i` tells it which one is meant."""
        _, f, wants, keeps = self.rules[self.inputs[0]]
        rest, keeps = [w for w in wants if w != "i"], [k for k in keeps if k != "i"]

        def vjp(i):
            return lambda g, *values: f(g, i=i, **dict(zip(rest, values)))

        return [Rule(i, vjp(i), rest, keeps) for i in range(n)]

    def input_name(self, i):
        return f"{self.inputs[0]}[{i}]" if self.variadic else self.inputs[i]

    def describe(self, arrays, options):
        """The call with its shapes, for messages: `conv2d(x: (8, 3, 28, 28) float32, ..., stride=(2, 2))`."""
        names = [self.input_name(i) for i in range(len(arrays))]
        inputs = [f"{n}: {a.shape} {a.dtype}" if hasattr(a, "dtype") else f"{n}: {a!r}" for n, a in zip(names, arrays)]
        of_arrays = lambda v: hasattr(v, "dtype") or (isinstance(v, tuple) and any(hasattr(a, "dtype") for a in v))
        inputs += [f"{k}={v!r}" for k, v in options.items() if not of_arrays(v)]
        return f"{self}({', '.join(inputs)})"

    def __get__(self, instance, owner=None):
        """An op in a class body is a method, as a function would be: `Tensor.exp = exp`."""
        return self if instance is None else MethodType(self, instance)

    def __str__(self):
        return self.__name__.strip("_")

    def __repr__(self):
        return f"<op {self.__name__}{self.__signature__}>"


def op(**rules):
    """Make an op of a function on arrays: arrays positional, options keyword-only.

        @op(x=lambda g, x: g * 3 * x**2)
        def cube(x):
            return x**3

    The VJP of the input called x is the keyword `x=`. It receives the cotangent g and whatever else it names: an
    input, `out`, `<input>_shape`, an option. *The signature is the save-list*: nothing else is kept.
    A keyword that is no input is a *shared quantity*: computed from g once a backward pass, for the VJPs naming it.
    VJPs are written with operators, methods that arrays and Tensors share, and ops; then second order is free.
    An input `*xs` takes any number of arrays; its VJP is told by `i` which of them is meant.
    An op that returns a tuple has several outputs; then g and out are tuples, and g holds None where no cotangent came.
    Raises TypeError, here and not in backward, where a rule names something that does not exist.
    """
    return lambda forward: Op(forward, rules)
