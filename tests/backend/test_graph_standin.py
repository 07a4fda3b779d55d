"""The stand-in's streams, pools and graphs are as treacherous as CUDA's; and `gpu.graph` avoids their traps."""

import contextlib
import gc

import numpy as np
import pytest
from backend import fake_cupy_graph as fake
from backend.fake_cupy import installed

from minigen.backend.capturing import NotCapturable
from minigen.backend.gpu.graph import Graph, new_pool
from minigen.ops import concatenate


@pytest.fixture
def cupy():
    with installed() as cupy:
        yield cupy


def captured(cupy, work, pool=None):
    """(graph, what work returned): work captured on a stream of its own, in memory of `pool` or of everybody."""
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream, cupy.cuda.using_allocator((pool or cupy.get_default_memory_pool()).malloc):
        stream.begin_capture()
        try:
            out = work()
        except BaseException:
            with contextlib.suppress(fake.CUDARuntimeError):
                stream.end_capture()
            raise
        return stream.end_capture(), out


# ------------------------------------------------------------------------------------------------ capture and replay


def test_nothing_runs_while_a_stream_captures_and_everything_at_each_launch(cupy):
    x, y = cupy.asarray(np.arange(4.0)), cupy.zeros(4)

    def work():
        z = x * 2 + 1
        y[1:] += z[1:]
        y[:2].fill(7)
        return cupy.concatenate([z, cupy.sqrt(y)])

    graph, out = captured(cupy, work, cupy.cuda.MemoryPool())
    assert np.isnan(out.get()).all()
    assert y.get().tolist() == [0, 0, 0, 0]
    for start in (0.0, 5.0):
        x[...] = cupy.asarray(np.arange(4.0) + start)
        before = y.get()
        graph.launch()
        z = (np.arange(4) + start) * 2 + 1
        expected = np.concatenate([[7, 7], before[2:] + z[2:]])
        assert y.get().tolist() == expected.tolist()
        np.testing.assert_allclose(out.get(), np.concatenate([z, np.sqrt(expected)]))


def test_elements_are_views(cupy):
    x = cupy.zeros((2, 3))
    one, (first, *_) = x[1, 2], x[0]
    x.fill(5)
    first += 1
    assert (float(one), float(x[0, 0])) == (5, 6)


def test_numbers_of_the_host_are_baked_into_a_graph(cupy):
    x, factor = cupy.ones(2), 2.0
    graph, out = captured(cupy, lambda: x * factor, cupy.cuda.MemoryPool())
    factor = 3.0
    graph.launch()
    assert out.get().tolist() == [2, 2]


@pytest.mark.parametrize(
    "look",
    [
        lambda x: x.get(),
        lambda x: x.sum().item(),
        lambda x: float(x[0]),
        lambda x: int(x[0]),
        lambda x: bool(x[0]),
        lambda x: x.tolist(),
        lambda x: x[x > 0],
        lambda x: x.nonzero(),
    ],
    ids=["get", "item", "float", "int", "bool", "tolist", "mask", "nonzero"],
)
def test_looking_at_a_value_is_counted_and_ends_a_capture(look, cupy):
    x = cupy.ones(3)
    fake.transfers.clear()
    look(x)
    assert fake.transfers == {"to host": 1}
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        stream.begin_capture()
        with pytest.raises(fake.CUDARuntimeError, match="cudaErrorStreamCaptureUnsupported"):
            look(x)
        with pytest.raises(fake.CUDARuntimeError, match="cudaErrorStreamCaptureInvalidated"):
            stream.end_capture()


@pytest.mark.parametrize("product", [lambda x: x @ x, lambda x: x.dot(x), lambda x: 0 * x @ x], ids=["@", "dot", "2"])
def test_cublas_refuses_a_capturing_stream(product, cupy):
    x = cupy.ones((2, 2))
    with pytest.raises(NotImplementedError, match="cuBLAS API during stream capture is currently unsupported"):
        captured(cupy, lambda: product(x))
    assert product(x).shape == (2, 2)


def test_the_default_stream_cannot_be_captured_nor_the_device_waited_for(cupy):
    with pytest.raises(RuntimeError, match="cannot capture on the default"):
        cupy.cuda.Stream.null.begin_capture()
    with pytest.raises(fake.CUDARuntimeError, match="not permitted when stream is capturing"):
        captured(cupy, lambda: cupy.cuda.Device().synchronize())


def test_a_captured_copy_from_the_host_reads_what_lies_there_later(cupy):
    fake.transfers.clear()
    graph, out = captured(cupy, lambda: cupy.asarray(np.ones(3)) + 1, cupy.cuda.MemoryPool())
    graph.launch()
    assert out.get().tolist() != [2, 2, 2]
    assert fake.transfers["to device"] == 1


def test_streams_that_do_not_wait_for_each_other_race(cupy):
    x = cupy.ones(3)
    side = cupy.cuda.Stream(non_blocking=True)
    with side, pytest.raises(RuntimeError, match="race"):
        x += 1
    done = cupy.cuda.get_current_stream().record()
    side.wait_event(done)
    with side:
        x += 1
    with pytest.raises(RuntimeError, match="race"):
        x += 1
    side.synchronize()
    x += 1
    assert x.tolist() == [3, 3, 3]


# ------------------------------------------------------------------------------------------------ memory


def test_new_and_freed_memory_holds_nan_and_is_handed_out_again(cupy):
    pool = cupy.get_default_memory_pool()
    x = cupy.empty((100,), np.float32)
    assert np.isnan(x.get()).all()
    x.fill(1)
    place, view = x.data.ptr, x[5:]
    del x
    assert view.tolist() == [1] * 95  # a view keeps it
    assert pool.used_bytes() == 512
    del view
    assert (pool.used_bytes(), pool.free_bytes()) == (0, 512)
    y = cupy.empty((90,), np.float32)
    assert y.data.ptr == place
    assert np.isnan(y.get()).all()
    del y
    pool.free_all_blocks()
    assert pool.total_bytes() == 0


def test_a_graph_writes_to_what_it_freed_and_others_hold_now(cupy):
    """The trap: the pool does not know of the graph. With a pool of its own nobody else gets its memory."""
    x, shared = cupy.ones((8,)), cupy.get_default_memory_pool()
    for pool, expected in ((shared, False), (cupy.cuda.MemoryPool(), True)):
        graph, out = captured(cupy, lambda: (x + 1) * 5, pool)
        shared.free_all_blocks()
        others = [cupy.full((8,), 3.0) for _ in range(4)]
        graph.launch()
        assert out.tolist() == [10] * 8
        assert all(o.tolist() == [3.0] * 8 for o in others) == expected


# ------------------------------------------------------------------------------------------------ minigen's graphs


def test_a_graph_of_minigen_replays_its_work_and_leaves_the_stream_as_it_was(cupy):
    x = cupy.ones((8,))
    graph = Graph(lambda: (x + 1) * 5, new_pool())
    others = [cupy.full((8,), 3.0) for _ in range(4)]
    x.fill(2)
    assert graph.replay().tolist() == [15] * 8
    assert all(o.tolist() == [3.0] * 8 for o in others)
    assert cupy.cuda.get_current_stream() is cupy.cuda.Stream.null
    assert gc.isenabled()
    assert cupy.asarray(np.ones(3)).tolist() == [1, 1, 1]  # copies from the host work again


@pytest.mark.parametrize(
    ("work", "reason"),
    [
        (lambda cupy, x: x.get(), "cudaErrorStreamCaptureUnsupported"),
        (lambda cupy, x: cupy.asarray(np.ones(3)), "an array is copied from the host to the GPU"),
        (lambda cupy, x: x[[0, 2]], "an array is copied from the host to the GPU"),
        (lambda cupy, x: cupy.concatenate([x] * 9), "an array is copied from the host to the GPU"),
        (lambda cupy, x: cupy.repeat(x, [1, 2, 3], axis=0), "an array is copied from the host to the GPU"),
        (lambda cupy, x: x @ x, "cuBLAS"),
        (lambda cupy, x: 1 / 0, "ZeroDivisionError: division by zero"),
    ],
    ids=["get", "asarray", "list", "concatenate", "repeat", "cublas", "error"],
)
def test_what_it_cannot_hold_is_refused_with_the_reason_and_the_place(work, reason, cupy):
    x = cupy.ones((3, 3))
    with pytest.raises(NotCapturable, match=reason) as raised:
        Graph(lambda: work(cupy, x), new_pool())
    assert "test_graph_standin.py:" in str(raised.value)
    assert not fake.capturing()
    assert gc.isenabled()
    assert cupy.asarray(np.ones(3)).tolist() == [1, 1, 1]
    assert Graph(lambda: x + 1, new_pool()).replay().get().tolist() == [[2] * 3] * 3


def test_any_number_of_arrays_is_concatenated_in_a_graph(cupy):
    pieces = [cupy.full((2,), float(i)) for i in range(75)]
    graph = Graph(lambda: concatenate(pieces), new_pool())
    assert graph.replay().tolist() == [i for i in range(75) for _ in range(2)]


def test_an_error_that_is_swallowed_still_ends_the_capture(cupy):
    x = cupy.ones(3)

    def work():
        try:
            x.get()
        except fake.CUDARuntimeError:
            return x + 1

    with pytest.raises(NotCapturable, match="cudaErrorStreamCaptureInvalidated"):
        Graph(work, new_pool())


def test_graphs_share_what_they_do_not_hold(cupy):
    """A pool hands out again only what was freed on the same stream, so all are captured on one."""
    pool, x = new_pool(), cupy.ones((1000,))
    first = Graph(lambda: (x + 1) * 5, pool)
    before = pool.total_bytes()
    second = Graph(lambda: (x + 2) * 7, pool)
    assert pool.total_bytes() == before + 8192  # the second's result
    assert [g.replay().tolist()[0] for g in (first, second, first)] == [10, 21, 10]


@pytest.mark.parametrize(("new", "safe"), [("MemoryPool", False), ("new_pool", True)])
def test_a_graph_for_which_there_is_no_room_does_not_take_it_from_another(new, safe, cupy, monkeypatch):
    """The trap: CuPy's pool then gives back what is free in it, where the first graph writes its x + 1, and goes on."""
    x, small = cupy.ones((1024,)), cupy.ones((900,))
    pool = new_pool() if safe else cupy.cuda.MemoryPool()
    first = Graph(lambda: (x + 1) * 5, pool)
    with monkeypatch.context() as patch:
        patch.setattr(fake, "memory_size", fake.memory_size - fake.memory_left())
        with pytest.raises(MemoryError, match="left for a graph") if safe else contextlib.nullcontext():
            Graph(lambda: small + 2, pool)
    others = cupy.full((1024,), 3.0)
    assert first.replay().tolist() == [10] * 1024
    assert (others.tolist() == [3] * 1024) == safe


def test_nothing_of_its_memory_is_in_use_when_it_is_gone(cupy):
    pool, x = new_pool(), cupy.ones((1000,))
    graph = Graph(lambda: (x + 1) * 5, pool)
    assert pool.used_bytes() >= 8000  # the result
    del graph
    assert pool.used_bytes() == 0
    pool.free_all_blocks()
    assert pool.total_bytes() == 0
