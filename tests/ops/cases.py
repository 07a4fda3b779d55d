"""The table of ops: for every public function, example inputs and an independent oracle. The tests are driven by it.

A row says what is called with what, what it must give, and, for a function that is a single op, what it may save.
"""

import rows_elementwise
import rows_fused
import rows_image
import rows_losses
import rows_shape
from table import CASES, Case, Fixed

__all__ = ["CASES", "Case", "Fixed", "rows_elementwise", "rows_fused", "rows_image", "rows_losses", "rows_shape"]
