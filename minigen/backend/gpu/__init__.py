"""What runs on the GPU: kernels in CUDA C++ (*.cu), compiled at run time by CuPy, and what launches them (*.py).

Each kernel has the name, arguments and results of its portable twin, which is its oracle and serves what it does not.
"""
