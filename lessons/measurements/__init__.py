"""The sections of machine.py: each yields rows (title, value, unit) for a library, NumPy or CuPy."""
