"""Packages that a bare GPU machine lacks: wheels in a folder beside the checkout are imported in place.

`pip download --no-deps --only-binary :all: --dest wheels open_clip_torch ftfy wcwidth pyautoattack` fills it. All of
them are pure Python, and a wheel is a zip archive.
"""

from __future__ import annotations

import sys
from pathlib import Path

from robustft.files import ROOT

FOLDER = ROOT / "wheels"


def add(folder: Path = FOLDER) -> list[str]:
    """Append the wheels of a folder to Python's path, after what is installed, and return their names."""
    found = sorted(folder.glob("*.whl"))
    sys.path += [str(path) for path in found if str(path) not in sys.path]
    return [path.name for path in found]
