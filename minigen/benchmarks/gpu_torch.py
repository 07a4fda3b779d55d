"""PyTorch's side of the measurement on a GPU: the same training steps, in the ways its users make them fast.

eager                  as its documentation writes them
channels-last          that memory layout, and Adam as one kernel (fused)
graph                  the whole step captured as a CUDA graph, with fused Adam; each replay copies the batch in first
channels-last graph    both
compile                channels-last, nets by torch.compile, fused Adam
compile graph          the same steps, captured

Like for like: both libraries get one batch again and again. Captured steps copy it to where the graph looks for it, the
others find it in place; how images are chosen and brought into range is no part of the time.

All: cuDNN tries its algorithms and takes the fastest (cudnn.benchmark); no loss is looked at. bfloat16 is autocast:
it also stores activations in 16 bits, half the bytes; minigen rounds factors of products only.
"""

import contextlib
import functools
import statistics
import time

WAYS_OF_IMAGES = "eager", "channels-last", "graph", "channels-last graph"
WAYS_OF_VECTORS = "eager", "graph"
COMPILED = "compile", "compile graph"
LARGE = 8192  # of the product that measures what the device can do
COPIED = 1 << 31  # bytes


class Contender:
    """Training steps of a workload, `period` of them in a cycle.

    steps: functions, of which some may be the same.  copy: puts the next batch where they look for it.
    """

    def __init__(self, library, precision, steps, copy, captured):
        self.library, self.precision, self.period = library, precision, len(steps)
        self.select()
        if captured:
            graphs = {step: capture(library.torch, step) for step in dict.fromkeys(steps)}
            steps = [part for step in steps for part in (copy, graphs[step])]
        self.steps = steps

    def select(self):
        self.library.set_precision(self.precision)

    def cycle(self):
        for step in self.steps:
            step()

    def held(self):
        return 0

    def note(self):
        return ""


def capture(torch, step):
    """`step` as a CUDA graph: the function that replays it.        https://docs.pytorch.org/docs/stable/notes/cuda.html"""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


class Library:
    """What gpu_worker.Server asks for, by PyTorch."""

    def __init__(self, rehearsal=False):
        import torch

        self.torch, self.rehearsal, self.device = torch, rehearsal, "cpu" if rehearsal else "cuda"
        self.compiled = {}  # (steps, copy), by (workload, precision)
        torch.backends.cudnn.benchmark = True

    def describe(self):
        torch = self.torch
        if self.rehearsal:
            return {"torch": torch.__version__}
        torch.zeros(1, device="cuda")  # raises where there is none
        return {"torch": torch.__version__, "CUDA": torch.version.cuda, "cuDNN": torch.backends.cudnn.version()}

    def set_precision(self, name):
        """float32: that of the CUDA cores. bfloat16: what autocast leaves in float32 stays so."""
        self.torch.backends.cuda.matmul.allow_tf32 = self.torch.backends.cudnn.allow_tf32 = name == "tf32"

    def synchronize(self):
        if not self.rehearsal:
            self.torch.cuda.synchronize()

    def held(self):
        """Bytes that the allocator holds, once what nobody uses is given back."""
        if self.rehearsal:
            return 0
        self.torch.cuda.empty_cache()
        return self.torch.cuda.memory_reserved()

    def milliseconds(self, work):
        """What the device takes for `work()`."""
        if self.rehearsal:
            began = time.perf_counter()
            work()
            return 1e3 * (time.perf_counter() - began)
        begin, end = (self.torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        work()
        end.record()
        end.synchronize()
        return begin.elapsed_time(end)

    # ------------------------------------------------------------------------------------------------ contenders

    def contender(self, workload, precision, way, batch, thin=1):
        """Raises RuntimeError for graphs where there is no GPU."""
        captured = way.endswith("graph")
        if captured and self.rehearsal:
            raise RuntimeError("a CUDA graph needs a GPU.")
        self.set_precision(precision)
        if not way.startswith("compile"):
            return Contender(self, precision, *self.steps(workload, precision, way, batch, thin), captured)
        if (workload, precision) not in self.compiled:
            self.compiled[workload, precision] = self.steps(workload, precision, way, batch, thin)
        return Contender(self, precision, *self.compiled[workload, precision], captured)

    def steps(self, workload, precision, way, batch, thin):
        """(steps, copy) for a Contender."""
        from . import torch_workloads as nets

        torch, device = self.torch, self.device
        torch.manual_seed(0)
        model, x = nets.WORKLOADS[workload](thin).to(device), torch.rand(batch, *nets.SHAPES[workload], device=device)
        model.logits = True
        if x.ndim == 4 and way not in ("eager", "graph"):
            model, x = (t.to(memory_format=torch.channels_last) for t in (model, x))
        if way.startswith("compile"):
            with contextlib.suppress(AttributeError):  # it is called cache_size_limit before PyTorch 2.6
                torch._dynamo.config.recompile_limit = 64  # G and D, in all precisions, run the same Sequential.forward
            options = {"backend": "eager"} if self.rehearsal else {}
            for net in [model] if isinstance(model, nets.VAE) else model.values():
                net.compile(**options)
        adam = torch.optim.Adam
        if way != "eager":
            adam = functools.partial(adam, fused=True, capturable=not self.rehearsal)
        rounding = contextlib.nullcontext
        if precision == "bfloat16":
            rounding = functools.partial(torch.autocast, device, torch.bfloat16)
        fixed = x.clone(memory_format=torch.preserve_format)
        normal, uniform = (functools.partial(f, device=device) for f in (torch.randn, torch.rand))
        steps = nets.cycle_of(model, fixed, nets.NOISE[workload], normal, uniform, adam, rounding)
        return steps, functools.partial(fixed.copy_, x)

    # ------------------------------------------------------------------------------------------------ ceilings

    def ceilings(self):
        """{"bytes/s": of a large copy, precision: FLOP/s of a large product}: what the device reaches here."""
        torch, n = self.torch, 64 if self.rehearsal else LARGE
        size = 1 << 16 if self.rehearsal else min(COPIED, torch.cuda.mem_get_info()[0] // 8)
        a, b = (torch.rand(size // 4, device=self.device) for _ in range(2))
        found = {"bytes/s": 2 * size / self.median(lambda: b.copy_(a))}
        for name, dtype in (("float32", torch.float32), ("tf32", torch.float32), ("bfloat16", torch.bfloat16)):
            self.set_precision(name)
            a, b = (torch.randn(n, n, device=self.device).to(dtype) for _ in range(2))
            found[name] = 2 * n**3 / self.median(lambda: a @ b)  # noqa: B023 (called at once)
        return found

    def median(self, work):
        """Seconds that the device takes for `work()`."""
        for _ in range(3):
            work()
        return statistics.median(self.milliseconds(work) for _ in range(10)) / 1e3
