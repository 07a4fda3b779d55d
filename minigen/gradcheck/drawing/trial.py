"""Does this Recipe give something that can be checked? Found out by calling it."""

import warnings

from ...autograd import Tensor
from ...backend import namespace
from ..subject import as_found, describe_kind, flat, is_float, leaf
from .inputs import Refused, sentence_of
from .shapes import Unfit


def call(name, case):
    """(inputs as leaves, float outputs) of case.f at case.inputs; everything stays as it was.

    Raises Refused where it raises; Unfit where its inputs or outputs have no derivative.
    """
    if not any(is_float(x) for x in case.inputs) and not parameters_of(case.f):
        raise Unfit(f"{name}: expected floats among the inputs; got {case}. {_fix_of(case)}")
    inputs = [_as_tensor(x) for x in case.inputs]
    with warnings.catch_warnings(), as_found(case.f):
        warnings.simplefilter("ignore", RuntimeWarning)  # of what is not finite: whether it is, is asked below
        try:
            out = case.f(*inputs)
        except Exception as error:
            raise Refused(sentence_of(error)) from error
    outputs = flat(out)
    found = [y for y in outputs if is_float(y)]
    if all(raw(y) is None for y in outputs):
        raise Unfit(f"{name}: returns None. Does it end without a return?")
    if not found:
        raise Unfit(
            f"{name}: expected a Tensor of floats, or a tuple of them, as the result; got "
            f"{', '.join(describe_kind(y) for y in outputs)}. If it has no derivative by design, say so in examples(): "
            f'"{name}": None.'
        )
    return [x for x in inputs if is_float(x)], found


def parameters_of(f):
    return f.named_parameters() if hasattr(f, "named_parameters") else []


def finite(outputs):
    return all(bool(namespace(raw(y)).isfinite(raw(y)).all()) for y in outputs)


def raw(x):
    return x.data if isinstance(x, Tensor) else x


def _as_tensor(x):
    """A copy as a leaf, so that a function that differentiates inside, or writes into its inputs, may do so."""
    return leaf(namespace(raw(x)).array(raw(x), copy=True)) if is_float(x) else x


def _fix_of(case):
    if any(hasattr(x, "dtype") or isinstance(x, int) for x in case.inputs):
        return "Integers have no derivative: pass x.astype(float) if they are meant as real numbers."
    return 'Pass an array, or a shape such as "N C".'
