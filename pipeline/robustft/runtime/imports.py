"""Importing a library faster, without its optional packages."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def import_without(*packages: str) -> Iterator[None]:
    """Within the context, imports of these packages fail as if they were not installed.

    A package that is imported already stays. Some libraries, such as open_clip, import optional packages, which takes a
    second. After the context the packages can be imported as usual.
    """
    hidden = [package for package in packages if package not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None makes an import fail
    try:
        yield
    finally:
        for package in hidden:
            del sys.modules[package]
