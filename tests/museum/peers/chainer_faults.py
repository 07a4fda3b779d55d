"""The faults as Chainer FunctionNodes, and what Chainer's checkers say of them.

    PYTHON chainer_faults.py        # prints {fault: {checker: [verdict, decisive line]}} as JSON

float64, default step and tolerances, with the detection of kinks and Chainer's debug mode, which names a NaN, switched
on. Chainer 7.8.1 is of 2022 and needs NumPy < 1.24, so it runs in an interpreter of its own; see compare.py.
"""

import json
import re
import sys
import warnings
from types import SimpleNamespace

import chainer
import numpy as np
from chainer import functions, gradient_check
from faults import FAULTS
from verdict import verdict

ARRAYS = SimpleNamespace(  # forward is given arrays
    **{name: getattr(np, name) for name in ("exp", "log", "sin", "cos", "tanh", "sqrt", "where", "reshape")},
    sum=lambda x, axis, keepdims: np.sum(x, axis, keepdims=keepdims),
    transpose=np.transpose,
    concat=np.concatenate,
    positive=lambda x: x > 0,
    times_in_place=lambda x, y: np.multiply(x, y, out=x),
    float32=lambda x: x.astype(np.float32),
)
VARIABLES = SimpleNamespace(  # backward is given Variables
    **{name: getattr(functions, name) for name in ("exp", "log", "sin", "cos", "tanh", "sqrt", "where", "reshape")},
    sum=lambda x, axis, keepdims: functions.sum(x, axis, keepdims),
    transpose=functions.transpose,
    concat=functions.concat,
    positive=lambda x: x.array > 0,
    constant=lambda x: chainer.Variable(x.array),
    recording=lambda g: chainer.config.enable_backprop,
    by_numpy=lambda f, x: chainer.Variable(f(x.array)),
    times_in_place=lambda x, y: np.multiply(x.array, y.array, out=x.array),
    float32=lambda x: functions.cast(x, np.float32),
    noise=lambda shape: chainer.Variable(np.random.random(shape)),
    strided=lambda x: not x.array.flags.c_contiguous,
)

OPTIONS = {"dtype": np.float64, "detect_nondifferentiable": True}
CHECKERS = {
    "check_backward": lambda f, xs, g, ggs: gradient_check.check_backward(f, xs, g, **OPTIONS),
    "check_double_backward": lambda f, xs, g, ggs: gradient_check.check_double_backward(f, xs, g, ggs, **OPTIONS),
}

NAMES = {  # kind of fault: what a message that names it says
    "kink": "NondifferentiableError",
    "nan": "NaN is detected",
    "wrong shape": "shape of gradients",
    "wrong dtype": "[Dd]type",
    "VJP raises": "InvalidType",
}


def target(fault):
    """f(*Variables): the faulty layer, used as the fault says."""

    class Layer(chainer.FunctionNode):
        def forward(self, xs):
            self.retain_inputs(range(len(xs)))
            return (np.asarray(fault.forward(ARRAYS, *xs)),)

        def backward(self, indexes, gs):
            found = fault.gradients(VARIABLES, gs[0], *self.get_retained_inputs())
            return [found[i] for i in indexes]

    return lambda *xs: fault.target(VARIABLES, lambda *ys: Layer().apply(ys)[0], *xs)


def verdicts(fault):
    """{checker: (verdict, decisive line)}."""
    found = {}
    for name, checker in CHECKERS.items():
        np.random.seed(0)
        inputs = tuple(x.copy("K") for x in fault.inputs)
        like = lambda x: np.random.standard_normal(x.shape).astype(x.dtype)
        g = like(target(fault)(*[chainer.Variable(x.copy("K")) for x in inputs]).array)
        directions = tuple(like(x) for x in inputs)
        check = lambda c=checker, xs=inputs, g=g, ggs=directions: c(target(fault), xs, g, ggs)
        with chainer.using_config("debug", True), np.errstate(all="ignore"):
            found[name] = verdict(check, fault, NAMES, r"gradients \(numeric\)", decisive)
    return found


def decisive(message):
    """The numbers, or what was expected, or the first line: the rest is the stack trace."""
    for pattern in (r"gradients \(numeric\).*\n.*", r"Expect: .*\n+.*", r"Dtype of data and grad .*\n.*"):
        if found := re.search(pattern, message):
            return found[0]
    return message.split("\n")[0]


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # of old NumPy's deprecations
    found = {name: verdicts(fault) for name, fault in FAULTS.items()}
    json.dump({"versions": f"Chainer {chainer.__version__}, NumPy {np.__version__}", "verdicts": found}, sys.stdout)
