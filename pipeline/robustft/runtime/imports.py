"""Importing a library without what it can do without."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def import_without(*packages: str) -> Iterator[None]:
    """Let `import` fail for packages that are not imported yet, as it does where they are not installed.

    For a library that imports them if they are there, such as open_clip, and takes a second more for it. Whoever
    imports them afterwards gets them.
    """
    hidden = [package for package in packages if package not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None is how the import system says no
    try:
        yield
    finally:
        for package in hidden:
            del sys.modules[package]
