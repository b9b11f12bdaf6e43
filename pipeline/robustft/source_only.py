"""This project's modules run from their source: what a record hashes is what is compiled.

Python would run a file of `__pycache__` in the place of a source file, whatever is in it, if its time and size fit or
it says that nobody should look. Compiling what a step imports takes less than a tenth of a second.
"""

from __future__ import annotations

import marshal
import os
import sys
from importlib.machinery import SOURCE_SUFFIXES, FileFinder, SourceFileLoader
from types import CodeType, ModuleType

# `pathlib` takes a while, and this is the first import.
PACKAGE = os.path.dirname(os.path.realpath(__file__))  # noqa: PTH120
_ABOVE = os.path.dirname(PACKAGE)  # noqa: PTH120
PLACES = (PACKAGE, os.path.dirname(_ABOVE)) if os.path.basename(_ABOVE) == "pipeline" else (PACKAGE,)  # noqa: PTH119, PTH120
"""The package; in a checkout also its top, where modules of a user lie."""


class SourceOnlyLoader(SourceFileLoader):
    """Compiles the source, and neither reads nor writes byte code."""

    def get_code(self, fullname: str) -> CodeType:
        """Return the code of a module's source."""
        path = self.get_filename(fullname)
        code: CodeType = self.source_to_code(self.get_data(path), path)
        return code


def _is_ours(folder: str) -> bool:
    """Tell whether modules of a folder are the project's own; a virtual environment in the checkout is not."""
    path = os.path.realpath(folder)
    inside = any(path == place or path.startswith(place + os.sep) for place in PLACES)
    return inside and "site-packages" not in path.split(os.sep)  # noqa: PTH206


def _finder(folder: str) -> FileFinder:
    if not _is_ours(folder):
        raise ImportError(folder)  # Python asks its next finder
    return FileFinder(folder, (SourceOnlyLoader, SOURCE_SUFFIXES))


def install() -> None:
    """Let every later import of the project's modules come from source."""
    if _finder not in sys.path_hooks:
        sys.path_hooks.insert(0, _finder)
        for folder in [folder for folder in sys.path_importer_cache if _is_ours(folder)]:
            del sys.path_importer_cache[folder]


def from_byte_code() -> list[str]:
    """Return the loaded modules of this package that are not compiled from the source beside them.

    Python loads the package's first two files before they can be loaded in this way, so their byte code is compared.
    """
    first = ("robustft", __name__)
    return [
        name
        for name, module in sorted(sys.modules.items())
        if (name in first and not _is_its_source(module))
        or (name.startswith("robustft.") and name not in first and not _compiled(module))
    ]


def _compiled(module: ModuleType) -> bool:
    return isinstance(getattr(module, "__loader__", None), SourceOnlyLoader)


def _is_its_source(module: ModuleType) -> bool:
    """Tell whether the byte code that Python keeps of a module is that of its source; without any it is."""
    cached, path = module.__cached__, str(module.__file__)
    if not cached or not os.path.exists(cached):  # noqa: PTH110
        return True
    with open(cached, "rb") as kept, open(path, "rb") as source:
        kept.seek(16)  # after magic number, flags, and time and size or hash
        same: bool = marshal.load(kept) == compile(source.read(), path, "exec", dont_inherit=True)
    return same
