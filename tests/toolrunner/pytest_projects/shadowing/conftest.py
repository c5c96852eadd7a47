"""Puts the author's own folders first, as many projects do."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
