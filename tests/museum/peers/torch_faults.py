"""The faults as torch.autograd.Functions, and what PyTorch's checkers say of them.

float64, default step and tolerances. What helps beyond the defaults is switched on: the check of the gradients'
dtypes and, outside the checkers, anomaly detection, which names a NaN (after a failure only: it is slow).
"""

import warnings
from functools import partial
from types import SimpleNamespace

import torch
from torch.autograd import gradcheck, gradgradcheck
from verdict import verdict

F = SimpleNamespace(
    **{name: getattr(torch, name) for name in ("exp", "log", "sin", "cos", "tanh", "sqrt", "where", "reshape")},
    sum=lambda x, axis, keepdims: x.sum() if axis is None else x.sum(axis, keepdim=keepdims),
    transpose=torch.t,
    concat=torch.concat,
    positive=lambda x: x > 0,
    constant=torch.detach,
    recording=lambda g: torch.is_grad_enabled(),
    by_numpy=lambda f, x: torch.from_numpy(f(x.detach().numpy())),
    times_in_place=lambda x, y: x.mul_(y),
    float32=lambda x: x.to(torch.float32),
    noise=lambda shape: torch.rand(shape, dtype=torch.float64),
    strided=lambda x: not x.is_contiguous(),
)

CHECKERS = {
    "gradcheck": lambda f, xs: gradcheck(f, xs, check_grad_dtypes=True),
    "fast mode": lambda f, xs: gradcheck(f, xs, check_grad_dtypes=True, fast_mode=True),
    "gradgradcheck": lambda f, xs: gradgradcheck(f, xs, check_grad_dtypes=True),
}

NAMES = {  # kind of fault: what a message that names it says
    "forgotten cotangent": "not multiplied by grad_output",
    "not deterministic": "not reentrant|determinis",
    "modified in place": "in-?place",
    "nan": "returned nan",
    "wrong dtype": "incorrect type|did not match",
    "wrong shape": "invalid gradient .* shape",
    "VJP raises": "shapes cannot be multiplied",
    "breaks under create_graph": "numpy|does not require grad",
}


def target(fault):
    """f(*tensors): the faulty layer, used as the fault says."""

    class Layer(torch.autograd.Function):
        @staticmethod
        def forward(ctx, *xs):
            ctx.save_for_backward(*xs)
            return fault.forward(F, *xs)

        @staticmethod
        def backward(ctx, g):
            return fault.gradients(F, g, *ctx.saved_tensors)

    return lambda *xs: fault.target(F, Layer.apply, *xs)


def verdicts(fault):
    """{checker: (verdict, decisive line)}."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that anomaly detection is on, and where in forward a NaN came from
        return {
            name: verdict(partial(check, checker, fault), fault, NAMES, "Jacobian mismatch", decisive)
            for name, checker in CHECKERS.items()
        }


def check(checker, fault):
    """Run the checker; what fails is run again with anomaly detection, as one would."""
    try:
        run(checker, fault)
    except Exception:
        with torch.autograd.set_detect_anomaly(True):
            run(checker, fault)
        raise


def run(checker, fault):
    torch.manual_seed(0)
    checker(target(fault), [torch.from_numpy(x.copy("K")).requires_grad_() for x in fault.inputs])


def decisive(message):
    return message.strip().split("\n")[0]
