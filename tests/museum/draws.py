"""Random cases over all ops of the engine: rows of the table, convolutions, poolings; in all layouts and sizes."""

from functools import partial

import numpy as np
from cases import CASES, Fixed
from hypothesis import strategies as st

from minigen import ops
from minigen.gradcheck.drawing.strategies import LAYOUTS, convolutions, poolings, transposed_convolutions

ROWS = [c for c in CASES if c.differentiable]
SCALES = st.sampled_from([1e-6, 1e-3, 0.1, 1.0, 3.0])  # not larger: some rows take powers and exponentials
OF_WINDOWS = st.sampled_from([1e-6, 1e-3, 1.0, 1e3, 1e6])
is_float = lambda x: isinstance(x, np.ndarray) and x.dtype.kind == "f"


@st.composite
def rows(draw):
    """(what it is called, function, inputs): a row's inputs in any layout, scaled together, so that ties stay away."""
    case, scale = draw(st.sampled_from(ROWS)), draw(SCALES)
    places = [i for i, x in enumerate(case.inputs) if is_float(x)]
    layouts = [draw(st.sampled_from(sorted(LAYOUTS))) for _ in places]
    inputs = [LAYOUTS[layout](scale * case.inputs[i]) for i, layout in zip(places, layouts)]

    def f(*values):
        args = [x.array.astype(values[0].dtype) if isinstance(x, Fixed) else x for x in case.inputs]
        for i, v in zip(places, values):
            args[i] = v
        return case.call(*args)

    return f"{case.name} × {scale} ({', '.join(layouts)})", f, inputs


@st.composite
def _windows(draw, name, strategy):
    """The same of a strategy that gives (arrays..., options)."""
    *inputs, options = draw(strategy)
    scale = draw(OF_WINDOWS)
    inputs = [x if x is None else scale * x for x in inputs]
    return f"{name} × {scale} {options}", partial(getattr(ops, name), **options), inputs


def any_case():
    """(what it is called, function, inputs) of any differentiable function of `minigen.ops`."""
    return st.one_of(
        rows(),
        rows(),
        rows(),
        _windows("conv2d", convolutions()),
        _windows("conv_transpose2d", transposed_convolutions()),
        _windows("max_pool2d", poolings(dilated=True).filter(_every_window_sees_a_pixel)),
        _windows("avg_pool2d", poolings()),
    )


def _every_window_sees_a_pixel(case):
    x, options = case
    try:
        return np.isfinite(ops.max_pool2d(x, **options)).all()
    except ValueError:
        return False
