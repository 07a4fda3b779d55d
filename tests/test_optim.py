"""Optimisers against textbook loops and PyTorch's, what they refuse, and that a resumed one goes on to the bit."""

import numpy as np
import pytest

from minigen import grad, optim
from minigen.autograd import Tensor
from minigen.nn import Parameter
from minigen.optim import EMA, SGD, Adam, AdamW, Momentum, RMSprop, flat, schedules

SHAPES = [(3, 4), (4,), (2, 3, 2, 2), (), (5,)]


def parameters(seed=0, shapes=SHAPES):
    rng = np.random.default_rng(seed)
    return [Parameter(rng.standard_normal(s).astype(np.float32)) for s in shapes]


def gradients(step, shapes=SHAPES):
    rng = np.random.default_rng(1000 + step)
    return [rng.standard_normal(s).astype(np.float32) for s in shapes]


# ------------------------------------------------------------------------------------------------ textbook and torch

# Each loop: (p, g, state, t from 1, lr) → p, in float64, as the docstring of the optimiser says it.


def sgd(p, g, s, t, lr, momentum=0.0, dampening=0.0, weight_decay=0.0, nesterov=False):
    g = g + weight_decay * p
    if momentum:
        s["b"] = g if t == 1 else momentum * s["b"] + (1 - dampening) * g
        g = g + momentum * s["b"] if nesterov else s["b"]
    return p - lr * g


def rmsprop(p, g, s, t, lr, alpha=0.99, eps=1e-8, weight_decay=0.0, momentum=0.0):
    g = g + weight_decay * p
    s["s"] = alpha * s.get("s", 0) + (1 - alpha) * g**2
    s["b"] = momentum * s.get("b", 0) + g / (np.sqrt(s["s"]) + eps)
    return p - lr * s["b"]


def adam(p, g, s, t, lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0):
    g = g + weight_decay * p
    s["m"] = betas[0] * s.get("m", 0) + (1 - betas[0]) * g
    s["v"] = betas[1] * s.get("v", 0) + (1 - betas[1]) * g**2
    m, v = s["m"] / (1 - betas[0] ** t), s["v"] / (1 - betas[1] ** t)
    return p - lr * m / (np.sqrt(v) + eps)


def adamw(p, g, s, t, lr, weight_decay=1e-2, **options):
    return adam(p, g, s, t, lr, **options) - lr * weight_decay * p


CASES = [
    (SGD, sgd, {}),
    (SGD, sgd, {"weight_decay": 0.1}),
    (SGD, sgd, {"momentum": 0.9}),
    (SGD, sgd, {"momentum": 0.8, "dampening": 0.3, "weight_decay": 0.1}),
    (SGD, sgd, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
    (Momentum, lambda *a, **o: sgd(*a, **{"momentum": 0.9} | o), {"nesterov": True}),
    (Momentum, lambda *a, **o: sgd(*a, **{"momentum": 0.9} | o), {}),
    (RMSprop, rmsprop, {}),
    (RMSprop, rmsprop, {"alpha": 0.9, "eps": 1e-3, "weight_decay": 0.1, "momentum": 0.5}),
    (Adam, adam, {}),
    (Adam, adam, {"betas": (0.5, 0.9), "eps": 1e-2, "weight_decay": 0.1}),
    (Adam, adam, {"betas": (0.0, 0.9)}),
    (AdamW, adamw, {}),
    (AdamW, adamw, {"weight_decay": 0.3, "betas": (0.8, 0.99)}),
]
RATES = {"constant": 0.03, "cosine": schedules.cosine(0.05, 20, end=0.001)}
every_case = pytest.mark.parametrize(("kind", "loop", "options"), CASES, ids=[f"{c[0].__name__}{c[2]}" for c in CASES])


@pytest.mark.parametrize("rate", RATES)
@every_case
def test_thirty_steps_equal_the_textbook_loop(kind, loop, options, rate):
    lr = RATES[rate]
    params = parameters()
    expected, states = [p.data.astype(np.float64) for p in params], [{} for _ in params]
    optimizer = kind(params, lr, **options)
    for t in range(1, 31):
        optimizer.step(gradients(t))
        now = lr(t - 1) if callable(lr) else lr
        for i, g in enumerate(gradients(t)):
            expected[i] = loop(expected[i], g.astype(np.float64), states[i], t, now, **options)
    for p, e in zip(params, expected):
        np.testing.assert_allclose(p.data, e, atol=2e-5, rtol=2e-5)  # float32 rounding over 30 steps


@every_case
def test_thirty_steps_equal_pytorchs(kind, loop, options):
    torch = pytest.importorskip("torch")
    params = parameters()
    theirs = [torch.from_numpy(p.data.copy()).requires_grad_() for p in params]
    if kind is Momentum:
        twin = torch.optim.SGD(theirs, 0.03, **{"momentum": 0.9} | options)
    else:
        twin = getattr(torch.optim, kind.__name__)(theirs, 0.03, **options)
    optimizer = kind(params, 0.03, **options)
    for t in range(30):
        optimizer.step(gradients(t))
        for p, g in zip(theirs, gradients(t)):
            p.grad = torch.from_numpy(g)
        twin.step()
    for p, e in zip(params, theirs):
        np.testing.assert_allclose(p.data, e.detach(), atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize("kind", [SGD, Momentum, RMSprop, Adam, AdamW])
def test_the_defaults_are_pytorchs_or_the_papers(kind):
    torch = pytest.importorskip("torch")
    optimizer = kind(parameters())
    twin = torch.optim.SGD if kind is Momentum else getattr(torch.optim, kind.__name__)
    defaults = twin([torch.zeros(1)]).defaults | ({"momentum": 0.9} if kind is Momentum else {})
    for name in ("lr", "betas", "eps", "alpha", "weight_decay", "momentum", "dampening"):
        if hasattr(optimizer, name) and name in defaults:
            assert getattr(optimizer, name) == defaults[name], name


def test_a_quadratic_is_minimised():
    (p,) = parameters(shapes=[(5,)])
    optimizer = Adam([p], 0.1)
    for _ in range(300):
        optimizer.step(grad(((p - 3.0) ** 2).sum(), [p]))
    assert abs(p.data - 3).max() < 1e-2


# ------------------------------------------------------------------------------------------------ gradients


def test_gradients_may_be_tensors_or_arrays_in_any_layout():
    a, b = parameters(), parameters()
    Adam(a).step(gradients(0))
    Adam(b).step([Tensor(np.asarray(g, order="F")) for g in gradients(0)])
    assert all(np.array_equal(x.data, y.data) for x, y in zip(a, b))


def test_step_takes_what_backward_left_and_zero_grad_forgets_it():
    a, b = parameters(), parameters()
    loss = lambda ps: sum((p * p).sum() for p in ps)
    loss(a).backward()
    first, second = SGD(a, 0.1), SGD(b, 0.1)
    first.step()
    second.step(grad(loss(b), b))
    assert all(np.array_equal(x.data, y.data) for x, y in zip(a, b))
    first.zero_grad()
    assert all(p.grad is None for p in a)


@pytest.mark.parametrize("small", [0, 6, 1 << 16])
def test_a_parameter_without_gradient_stays_as_it_is(small, monkeypatch):
    """Large parameters are updated alone, small neighbours together: SMALL decides, and must not matter."""
    monkeypatch.setattr(flat, "SMALL", small)
    params, twins = parameters(), parameters()
    optimizer = Adam(params, 0.1)
    alone = {i: Adam([twins[i]], 0.1) for i in (0, 2, 4)}
    for t in range(3):
        given = gradients(t)
        given[1] = given[3] = None
        optimizer.step(given)
        for i, one in alone.items():
            one.step([given[i]])
    for i, (p, twin) in enumerate(zip(params, twins)):
        np.testing.assert_array_equal(p.data, twin.data, err_msg=str(i))
    assert np.array_equal(params[1].data, parameters()[1].data)


def test_weight_decay_does_not_touch_a_parameter_without_gradient():
    params = parameters()
    AdamW(params, 0.1, weight_decay=0.5).step([None] * len(params))
    assert all(np.array_equal(p.data, q.data) for p, q in zip(params, parameters()))


@pytest.mark.parametrize("kind", [SGD, Momentum, RMSprop, Adam, AdamW])
def test_a_step_does_not_change_the_gradients(kind):
    given = gradients(0)
    kind(parameters(), 0.1, weight_decay=0.1).step(given)
    assert all(np.array_equal(a, b) for a, b in zip(given, gradients(0)))


def test_convolution_weights_stay_channels_last_in_the_flat_vector():
    params = parameters()
    Adam(params)
    assert params[2].data.transpose(0, 2, 3, 1).flags.c_contiguous


# ------------------------------------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Adam([]), "expected parameters; got none"),
        (lambda: Adam(parameters() * 2), "a parameter is given twice"),
        (lambda: Adam(parameters(), lr=-1.0), "Adam: expected a learning rate ≥ 0; got -1.0"),
        (lambda: SGD(parameters(), lr=float("nan")), "SGD: expected a learning rate ≥ 0; got nan"),
        (lambda: SGD(parameters(), nesterov=True), "SGD: nesterov needs momentum > 0 and dampening 0"),
        (lambda: AdamW(parameters(), betas=(0.9, 1.0)), r"AdamW: expected betas in \[0, 1\); got \(0.9, 1.0\)"),
        (lambda: Adam([*parameters(), Parameter(np.zeros(2))]), "expected parameters of one device and dtype"),
        (lambda: Adam(parameters()).step([None]), "expected 5 gradients, one a parameter; got 1"),
        (lambda: Adam(parameters()).step(gradients(0)[::-1]), r"expected a gradient of shape \(3, 4\); got \(5,\)"),
        (lambda: EMA(parameters(), 1.0), r"EMA: expected a decay in \[0, 1\); got 1.0"),
    ],
)
def test_what_cannot_work_is_refused_with_its_reason(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_parameter_that_was_moved_away_is_named():
    params = parameters()
    params[1].name = "decoder.bias"
    optimizer = Adam(params)
    Adam(params[1:2])  # takes it into its own vector: the first optimiser would update a dead copy
    with pytest.raises(RuntimeError, match=r"decoder.bias was moved away after the optimiser was made"):
        optimizer.step(gradients(0))


def test_a_nameless_parameter_that_was_moved_away_is_called_so():
    params = parameters()
    optimizer = Adam(params)
    params[0].data = params[0].data.copy()
    with pytest.raises(RuntimeError, match="a parameter was moved away"):
        optimizer.step(gradients(0))


# ------------------------------------------------------------------------------------------------ saving


@every_case
def test_an_optimiser_restored_into_another_goes_on_to_the_bit(kind, loop, options):
    a, b = parameters(), parameters()
    rate = schedules.cosine(0.1, 10)
    whole, half = kind(a, rate, **options), kind(b, rate, **options)
    for t in range(6):
        whole.step(gradients(t))
    for t in range(3):
        half.step(gradients(t))
    c = parameters(seed=9)
    other = kind(c, rate, **options)
    for p, q in zip(c, b):
        p.data[...] = q.data
    other.load_state_dict(half.state_dict())
    for t in range(3, 6):
        other.step(gradients(t))
    assert other.steps == 6
    assert all(np.array_equal(p.data, q.data) for p, q in zip(a, c))


def test_a_state_dict_is_a_copy():
    optimizer = Adam(parameters())
    state = optimizer.state_dict()
    optimizer.step(gradients(0))
    assert state["steps"] == 0
    assert not state["m"].any()


def test_the_state_of_another_optimiser_is_refused_and_nothing_is_changed():
    optimizer = Adam(parameters())
    optimizer.step(gradients(0))
    before = optimizer.state_dict()
    for state in (Momentum(parameters()).state_dict(), Adam(parameters(shapes=[(3,)])).state_dict()):
        with pytest.raises(ValueError, match=r"Adam.load_state_dict: expected 'm' of shape \(46,\); got .*same optim"):
            optimizer.load_state_dict(state)
    assert all(np.array_equal(before[k], v) for k, v in optimizer.state_dict().items())


def test_an_optimiser_follows_its_schedule():
    optimizer = SGD(parameters(), schedules.linear(1.0, 4))
    rates = []
    for t in range(5):
        rates.append(optimizer.lr)
        optimizer.step(gradients(t))
    assert rates == [1.0, 0.75, 0.5, 0.25, 0.0]


def test_everything_is_importable_from_optim():
    assert {"SGD", "Momentum", "RMSprop", "Adam", "AdamW", "EMA", "clip_grad_norm", "schedules"} <= set(dir(optim))


def test_parameters_whose_size_is_a_multiple_of_4_begin_at_one_and_all_are_updated_as_if_alone():
    shapes = [(3,), (8, 2), (1,), (2, 4, 3, 3), (5, 3), (4,)]
    together, alone = parameters(shapes=shapes), parameters(shapes=shapes)
    optimizer, singles = Adam(together, 0.1), [Adam([p], 0.1) for p in alone]
    for place, p in zip(optimizer.flat.places, together):
        assert p.size % 4 or place.start % 4 == 0
    for step, missing in enumerate((None, 3, 0)):
        given = [None if i == missing else g for i, g in enumerate(gradients(step, shapes))]
        optimizer.step(given)
        for single, g in zip(singles, given):
            single.step([g])
    for p, q in zip(together, alone):
        np.testing.assert_array_equal(p.data, q.data)
