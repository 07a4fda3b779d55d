"""What `python -m minigen.bench` measures.

workloads.py        the nets, as minigen models: also examples of how to define one
torch_workloads.py  the same nets and losses in PyTorch
overhead.py         what an op costs beyond its arithmetic

On the CPU:
contender.py        runs the steps of one of them, in a process of its own
rounds.py           starts contenders and takes their times in turn

On a GPU, in the order in which they are best read:
gpu.py              the stages of a measurement that has to end in time
gpu_processes.py    the processes that measure, as it sees them
gpu_worker.py       what runs in them
gpu_minigen.py      minigen's steps, eager and captured, and what happens within one
gpu_torch.py        PyTorch's
gpu_check.py        kernels, steps and graphs are right, or it is told
gpu_cases.py        random inputs for every kernel
gpu_taps.py         looks at every call of a kernel: its errors, its time
gpu_floors.py       operations and bytes that a step must cost
gpu_report.py       what is printed
"""
