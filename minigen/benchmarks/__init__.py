"""What `python -m minigen.bench` measures.

workloads.py        the four nets, as minigen models: also examples of how to define one
torch_workloads.py  the same nets and losses in PyTorch
contender.py        runs the steps of one of them, in a process of its own
rounds.py           starts contenders and takes their times in turn
overhead.py         what an op costs beyond its arithmetic
"""
