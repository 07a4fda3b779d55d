"""All faults by name, and some layers of the kind "right": {name: Fault}."""

import right_layers
import wrong_arithmetic
import wrong_conduct
from fault import FAULTS

__all__ = ["FAULTS", "right_layers", "wrong_arithmetic", "wrong_conduct"]  # importing them registers what is in them
