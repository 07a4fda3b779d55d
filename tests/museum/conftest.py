"""The table of ops, from which the draws are made, lies beside the tests of the ops."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent / "ops"))
