"""What several folders of tests share lies in this folder and is imported by its name (`import realprom`)."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
