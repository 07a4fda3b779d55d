"""The benchmark on a GPU, rehearsed: on the stand-in for CuPy, in tiny sizes, with PyTorch on the CPU where it is."""

import importlib.util
import io
import json
import sys
import types

import pytest
from backend import emulator, fake_cupy_timed

from minigen import bench
from minigen.backend import use
from minigen.backend.gpu import sharing
from minigen.benchmarks import gpu, gpu_minigen, gpu_report, gpu_tiles, gpu_torch, gpu_worker
from minigen.benchmarks.gpu_processes import Clock, Worker, WorkerError

emulated = pytest.mark.skipif(not emulator.AVAILABLE, reason=emulator.WHY_NOT)
THIN = 32


@pytest.fixture
def device():
    """The stand-in, with clocks; products by the portable kernels, which is fast."""
    with fake_cupy_timed.installed() as cupy:
        use("cupy")
        yield cupy


# ------------------------------------------------------------------------------------------------ processes


def answers(server, *requests):
    out = io.StringIO()
    gpu_worker.serve(server, [json.dumps(r) for r in requests], out)
    return [json.loads(line) for line in out.getvalue().splitlines()]


@emulated
def test_a_server_prepares_times_and_forgets(device):
    server = gpu_worker.Server(gpu_minigen.Library(rehearsal=True))
    what = {"workload": "mlpvae", "precision": "tf32", "way": "eager", "batch": 2, "thin": THIN}
    turn = {"do": "turn", "key": "a", "seconds": 0}
    done = answers(
        server, {"do": "prepare", "key": "a", **what}, turn, {"do": "forget", "keys": ["a"]}, turn, {"do": "nothing"}
    )
    assert done[0]["value"]["MiB"] > 0 and done[0]["value"]["note"] == ""
    assert done[1]["value"]["ms"] > 0 and done[1]["value"]["steps"] == 1
    assert done[2] == {"value": None}
    assert "was lost" in done[3]["error"] and "AttributeError" in done[4]["error"]


ECHO = "import sys, json\nfor line in sys.stdin: print(json.dumps({'value': json.loads(line)['x']}), flush=True)"


def test_a_process_is_asked_and_started_again_after_it_ended(monkeypatch):
    worker = Worker(Clock(1))
    monkeypatch.setattr(Worker, "command", [sys.executable, "-c", ECHO])
    assert worker.ask("x", x=3) == 3
    worker.process.kill()
    worker.process.wait()
    assert worker.ask("x", x=4) == 4
    worker.close()
    assert worker.process is None


def test_a_process_whose_device_is_spoilt_ends_and_a_new_one_is_asked(monkeypatch):
    program = """import sys, types
from minigen.benchmarks.gpu_worker import Server, serve
serve(Server(types.SimpleNamespace(synchronize=lambda: 1 / 0)), sys.stdin, sys.stdout)"""
    monkeypatch.setattr(Worker, "command", [sys.executable, "-c", program])
    worker = Worker(Clock(1))
    for _ in range(2):
        with pytest.raises(WorkerError, match="it was lost"):
            worker.ask("turn", key="a", seconds=0)
        assert worker.process is None


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("import time; time.sleep(60)", "no answer within 0 s"),
        ("import sys; sys.exit('no such device')", "its process ended: no such device"),
        ('input(); print(\'{"error": "out of memory"}\')', "out of memory"),
    ],
)
def test_what_goes_wrong_in_a_process_is_told(program, said, monkeypatch):
    worker = Worker(Clock(1))
    monkeypatch.setattr(Worker, "command", [sys.executable, "-c", program])
    with pytest.raises(WorkerError, match=said):
        worker.ask("x", limit=0.3 if "sleep" in program else 20)
    worker.close()


def test_nothing_is_asked_when_the_time_is_over(monkeypatch):
    monkeypatch.setattr(Worker, "command", [sys.executable, "-c", ECHO])
    worker = Worker(Clock(0))
    with pytest.raises(WorkerError, match="no time is left"):
        worker.ask("x", x=1)
    worker.close()


# ------------------------------------------------------------------------------------------------ PyTorch


def test_pytorchs_steps_run_in_both_layouts_and_not_as_graphs():
    pytest.importorskip("torch")
    server = gpu_worker.Server(gpu_torch.Library(rehearsal=True))
    ways = [("mlpvae", "eager", "bfloat16"), ("wgangp", "channels-last", "float32"), ("dcgan", "eager", "tf32")]
    for workload, way, precision in ways:
        what = {"workload": workload, "precision": precision, "way": way, "batch": 2, "thin": THIN}
        turn = {"do": "turn", "key": "a", "seconds": 0}
        made, turn = answers(server, {"do": "prepare", "key": "a", **what}, turn)
        assert "value" in made, made
        assert turn["value"]["steps"] == (5 if workload == "wgangp" else 1)
    with pytest.raises(RuntimeError, match="needs a GPU"):
        server.library.contender("wgangp", "tf32", "graph", 2)
    assert server.ceilings().keys() == {"bytes/s", "float32", "tf32", "bfloat16"}


class Cuda:
    """What `capture` asks of torch.cuda: a graph runs again what was called while it was captured."""

    def __init__(self):
        self.log, stream = [], lambda name: types.SimpleNamespace(wait_stream=lambda other: self.log.append(name))
        self.current, self.side = stream("current waits"), stream("side waits")
        self.Stream, self.current_stream = lambda: self.side, lambda: self.current

    def stream(self, stream):
        return self.entered("on the side")

    def graph(self, graph):
        return self.entered("captured")

    def CUDAGraph(self):
        return types.SimpleNamespace(replay=lambda: self.log.append("replay"))

    def entered(self, name):
        log = self.log

        class Context:
            def __enter__(self):
                log.append(name)

            def __exit__(self, *error):
                log.append("end")

        return Context()


def test_pytorchs_step_is_warmed_up_on_a_stream_of_its_own_and_captured():
    cuda = Cuda()
    replay = gpu_torch.capture(types.SimpleNamespace(cuda=cuda), lambda: cuda.log.append("step"))
    replay()
    warm_up = ["side waits", "on the side", "step", "step", "step", "end", "current waits"]
    assert cuda.log == [*warm_up, "captured", "step", "end", "replay"]


def test_a_captured_cycle_copies_the_batch_before_each_replay(monkeypatch):
    monkeypatch.setattr(gpu_torch, "capture", lambda torch, step: lambda: done.append(f"graph of {step()}"))
    done, d, g = [], lambda: "D", lambda: "D and G"
    library = types.SimpleNamespace(torch=None, set_precision=lambda name: None)
    contender = gpu_torch.Contender(library, "tf32", [d, d, g], lambda: done.append("copy"), captured=True)
    contender.cycle()
    assert done == ["copy", "graph of D", "copy", "graph of D", "copy", "graph of D and G"]
    assert contender.period == 3


# ------------------------------------------------------------------------------------------------ all of it


def test_rows_are_compared_within_rounds():
    times = {"minigen graph": [1.0, 10.0, 2.0], "torch eager": [4.0, 40.0, 8.0], "torch graph": [2.0, 20.0, 1.0]}
    found = gpu.Bench.compared(times)
    assert found == {"own": "minigen graph", "best": "torch graph", "/best": 0.5, "/eager": 0.25}
    assert gpu.Bench.compared({"minigen eager": [1.0]})["/best"] is None
    assert gpu.Bench.compared({"torch eager": [1.0]})["own"] is None


def test_failures_are_printed_loudly_and_mark_their_workload():
    wrong = {
        "group": "dcgan",
        "what": "dcgan: tanh",
        "error": float("nan"),
        "allowed": 1e-5,
        "ok": False,
        "where": "2×3",
    }
    assert gpu_report.failures([wrong, wrong | {"ok": True}]) == [
        "  !!!! WRONG: dcgan: tanh: error nan, allowed 1e-05. 2×3"
    ]
    row = {"workload": "dcgan", "batch": 2, "precision": "tf32", "trusted": False, "ms": {}, "floor": None, "facts": {}}
    assert gpu_report.line_of(row | {"own": None, "best": None, "/best": None, "/eager": None}).startswith("!DCGAN")


def bench_on(capability, *precisions):
    """A Bench that has met a GPU of that compute capability."""
    args = bench.parser().parse_args(["--backend", "cupy", "--no-torch", "--precision", *precisions])
    measurement = gpu.Bench(args, gpu.REHEARSAL, Clock(1))
    measurement.found["device"] = {"capability": capability}
    return measurement


def test_precisions_that_the_gpu_has_not_are_left_out_and_it_is_said(capsys):
    old, new = bench_on("75", "tf32", "float32", "bfloat16"), bench_on("120", "tf32", "float32", "bfloat16")
    old.leave_out(), new.leave_out()
    assert old.precisions == ["float32"] and new.precisions == ["tf32", "float32", "bfloat16"]
    left = "left out: tf32, bfloat16: not on compute capability 7.5"
    assert old.found["troubles"] == [left] and left in capsys.readouterr().out
    assert new.found["troubles"] == []
    with pytest.raises(SystemExit, match=r"--precision tf32: not on compute capability 6\.1"):
        bench_on("61", "tf32").leave_out()


@pytest.mark.parametrize("options", [["--workloads", "mlpgan", "--backend", "cupy"], ["--workloads", "dcgan64"]])
def test_a_workload_of_the_other_backend_is_refused(options):
    with pytest.raises(SystemExit, match="not measured with --backend"):
        bench.main(options)


@pytest.mark.skipif(importlib.util.find_spec("cupy") is not None, reason="CuPy is installed")
def test_without_cupy_the_command_says_why_not():
    with pytest.raises(SystemExit, match=r"CuPy cannot be used here: .*minigen\.doctor"):
        bench.main(["--backend", "cupy", "--no-torch"])


@emulated
@pytest.mark.parametrize("torch", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["alone", "with torch"])
def test_a_rehearsal_writes_everything_down(torch, tmp_path, capsys, monkeypatch):
    if torch:
        pytest.importorskip("torch")
    monkeypatch.setattr(gpu, "WORKLOADS", ["mlpvae"])
    check = gpu.Bench.check
    kernels = lambda self, what, until: [] if what == "kernels" else check(self, what, until)  # tests/test_gpu_check.py
    monkeypatch.setattr(gpu.Bench, "check", kernels)
    out = tmp_path / "gpu.json"
    options = ["--rehearse", "--precision", "tf32", "--minutes", "5", "--json", str(out)]
    bench.main(["--backend", "cupy", *options, *([] if torch else ["--no-torch"])])
    found, said = json.loads(out.read_text()), capsys.readouterr().out
    assert found["device"]["name"] == "no GPU" and found["device"]["GiB"] == 2
    assert found["troubles"] == [] and found["checks"] and all(c["ok"] for c in found["checks"])
    (row,) = found["rows"]
    assert row["trusted"] and row["errors"].keys() == ({"torch graph", "torch compile graph"} if torch else set())
    assert len(row["rounds"]["minigen graph"]) == gpu.REHEARSAL.rounds
    assert row["facts"]["minigen graph"]["note"] == ""
    assert row["floor"].keys() == ({"operations", "bytes"} if torch else {"bytes"})
    assert (row["/eager"] is not None) == torch
    (breakdown,) = found["breakdown"]
    assert sum(c["us"] for c in breakdown["calls"]) < breakdown["step_us"]
    assert {"matmul", "adam"} <= {c["kernel"] for c in breakdown["calls"]}
    assert len(found["profile"]) == torch
    assert said.count("MLP VAE 2 tf32") == 2


# ------------------------------------------------------------------------------------------------ tiles


@emulated
def test_every_product_of_a_step_is_timed_with_every_tile(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(gpu, "WORKLOADS", ["mlpvae"])
    out = tmp_path / "tiles.json"
    options = ["--rehearse", "--tiles", "--precision", "tf32", "--minutes", "5", "--json", str(out)]
    bench.main(["--backend", "cupy", *options])
    found, said = json.loads(out.read_text()), capsys.readouterr().out
    assert found["troubles"] == []
    (tiles,) = found["tiles"]
    assert sum(row["calls"] for row in tiles["products"]) == 14  # 5 dense layers: forward and twice backward, but for x
    assert {row["role"] for row in tiles["products"]} == {"FORWARD", "INPUT", "WEIGHT"}
    for row in tiles["products"]:
        assert [t["cost"] for t in row["times"]][row["chosen"]] == min(t["cost"] for t in row["times"])
        assert all(t["us"] > 0 and t["slabs"] * t["parts"] * sharing.SLAB >= row["MNK"][2] for t in row["times"])
    assert "MLP VAE, tf32: products of a step" in said


def test_a_speed_is_that_with_which_the_estimates_would_be_right():
    first, second = sharing.TILES[:2]
    time = lambda tile, cost, us: {"tile": list(tile[:4]), "cost": cost, "us": us}
    large = {"times": [time(first, 400, 200), time(second, 500, 500)]}
    small = {"times": [time(first, 4, 100), time(second, 4, 100)]}
    found = gpu_tiles.speeds([large, small])
    assert found == {first[:2]: (first.speed, 0.5, 1), second[:2]: (second.speed / 2, 1.0, 1)}


def test_what_better_choices_would_save_is_told(capsys):
    time = lambda parts, us: {"tile": [64, 64, 32, 32], "parts": parts, "us": us}
    row = {"role": "FORWARD", "MNK": [8, 4, 2], "calls": 2, "chosen": 0, "times": [time(1, 30.0), time(4, 15.0)]}
    gpu_tiles.print_losses({"workload": "dcgan", "precision": "tf32", "products": [row, row | {"chosen": 1}]})
    first, second = capsys.readouterr().out.splitlines()
    assert first == "DCGAN 28×28, tf32: products of a step 90 µs; 60 µs with the best choices (33% less)"
    assert " ".join(second.split()) == "2× FORWARD 8×4×2 30.0 µs, 64×64×32×32 / 1 → 15.0 µs, 64×64×32×32 / 4"
