"""Lets the tests, and the benchmarks, import the judge and the generator beside them."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
