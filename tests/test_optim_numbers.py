"""The numbers of several optimisers in one array on the GPU: one launch, and each works as it does alone."""

import numpy as np
import pytest
from backend import emulator, fake_kernels

from minigen.backend import asarray, use
from minigen.nn import Parameter
from minigen.optim import EMA, SGD, Adam, AdamW, RMSprop
from minigen.optim.numbers import Together

MAKERS = [
    lambda p: Adam(p, lambda t: 0.1 / (t + 1)),
    lambda p: SGD(p, 0.1, momentum=0.9, dampening=0.1),
    lambda p: RMSprop(p, 0.01),
    lambda p: AdamW(p, 0.02),
]


def members(dtypes=(np.float32,) * 4):
    """Four optimisers with a parameter each, and an average of all."""
    parameters = [Parameter(asarray(np.linspace(-1, 1, 5, dtype=d))) for d in dtypes]
    optimizers = [make([p]) for make, p in zip(MAKERS, parameters)]
    return [*optimizers, EMA(parameters, 0.9, [o.flat for o in optimizers])]


def apply(some):
    for member in some:
        member.apply(*([] if isinstance(member, EMA) else [[p.data * 0.5 for p in member.parameters]]))


def values(some):
    return [p.numpy().tolist() for m in some[:-1] for p in m.parameters] + [a.tolist() for a in some[-1].averages]


DUE = [[0, 4], [0, 1, 2, 3, 4], [2, 3], [1, 4], [0, 1, 2, 3, 4]]


def alone(dtypes=(np.float32,) * 4):
    expected = members(dtypes)
    for due in DUE:
        for i in due:
            expected[i].prepare()
        apply([expected[i] for i in due])
    return values(expected)


@pytest.mark.parametrize("name", ["numpy", "cupy"])
@pytest.mark.parametrize("dtypes", [(np.float32,) * 4, (np.float32, np.float64, np.float32, np.float64)], ids=len)
def test_members_prepared_together_take_the_steps_that_they_take_alone(dtypes, name, fake_cupy):
    use(name)
    found = members(dtypes)
    together = Together(found)
    for due in DUE:
        together.prepare([found[i] for i in due])
        apply([found[i] for i in due])
    assert values(found) == alone(dtypes)
    assert [m.steps for m in found] == [3, 3, 3, 3, 4]


@pytest.mark.parametrize("name", ["numpy", "cupy"])
def test_a_member_may_still_take_a_step_by_itself(name, fake_cupy):
    use(name)
    found = members()
    together = Together(found)
    for i, due in enumerate(DUE):
        if i % 2:
            for j in due:
                found[j].prepare()
        else:
            together.prepare([found[j] for j in due])
        apply([found[j] for j in due])
    assert values(found) == alone()


@pytest.mark.parametrize("name", ["numpy", "cupy"])
def test_what_is_no_member_prepares_itself(name, fake_cupy):
    use(name)
    (first, *others), (expected, *_) = members(), members()
    Together(others).prepare([first])
    expected.prepare()
    for m in (first, expected):
        apply([m])
    assert first.parameters[0].numpy().tolist() == expected.parameters[0].numpy().tolist()


@pytest.mark.skipif(not emulator.AVAILABLE, reason=emulator.WHY_NOT)
def test_one_launch_stores_all_numbers_and_none_moves(fake_cupy):
    use("cupy")
    found = members()
    together = Together(found)
    places = [m.held.data.ptr for m in found]
    before = fake_kernels.LAUNCHES["store"]
    together.prepare(found)
    assert fake_kernels.LAUNCHES["store"] == before + 1
    found[0].prepare()
    assert [m.held.data.ptr for m in found] == places
    assert len(set(places)) == len(places)
