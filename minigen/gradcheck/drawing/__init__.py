"""What is in a file, and inputs on which it can be checked. Needs Hypothesis.

Reading order: strategies.py (arrays, layouts, convolutions), shapes.py ("N C H W"), inputs.py and infer.py (how inputs
are made for a function), target.py (both together), load.py and discover.py (what a file holds), sweep.py (many draws).
"""
