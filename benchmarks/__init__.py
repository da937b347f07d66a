"""Measurements beside a peer or a physical limit, as ratios in one run.

``python -m benchmarks.life`` and ``python -m benchmarks.memory``; each explains itself with
``--help`` and prints a table. Machines are noisy: read the ratios and the medians.
"""

import sys
from pathlib import Path

# The real programs a measurement stands beside are started by the same code as in the tests.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
