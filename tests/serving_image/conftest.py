"""Lets these tests import the serving image's files, which are scripts in a folder and no package."""

import sys
from pathlib import Path

SERVING = Path(__file__).parents[2] / "serving-image"
sys.path += [str(SERVING), str(SERVING / "training")]
