"""The `data` step: decode a source into its one file, in a confined process."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from robustft.data.source_file import write_source
from robustft.files import atomic_path
from robustft.runtime.context import Context
from robustft.runtime.sandbox.call import Limits, call

MEMORY_MB = 1000
"""Of the decoder, where the settings say nothing: one member of an archive, and what it decodes to."""

_IMAGE_BYTES = 1 << 16
"""Stands for an image that is stored smaller than its publisher has it: a temporary file holds those of a source."""


def decode(spec: dict[str, Any], context: Context) -> None:
    """Decode the source of `spec` into the output "data", by `source_file.write_source` in a confined process.

    `context.settings` holds `threads` and `memory_mb`; `context.facts` receives what the kernel held of the process.
    Raises the errors of `write_source`, and IntegrityError, with the member, for a file that ends its decoder.
    """
    reads = list(context.inputs.values())
    if "folder" in context.settings:  # the place is no part of the specification; the hash of the pictures is
        spec = {**spec, "source": {**spec["source"], "folder": context.settings["folder"]}}
        reads.append(Path(context.settings["folder"]))
    with atomic_path(context.outputs["data"]) as part:
        arguments = {
            "spec": spec,
            "inputs": {role: os.fspath(path) for role, path in context.inputs.items()},
            "output": os.fspath(part),
            "threads": context.settings.get("threads", 1),
        }
        _, context.facts["confined"] = call(
            write_source,
            arguments,
            reads=reads,
            writes=[part],
            limits=limits(spec["source"], context.inputs.values(), context.settings),
            scratch=context.scratch,
            log=context.log,
        )


def limits(source: Mapping[str, Any], files: Iterable[Path], settings: Mapping[str, Any]) -> Limits:
    """Return what decoding a source may use: memory as the scale says, room and time by what is to be decoded."""
    ragged = 4 if "crop" not in source.get("geometry", {}) else 1  # a longer side may be longer than the shape's
    images, image_bytes = source.get("images", 1 << 20), ragged * math.prod(source["shape"])
    packed = sum(path.stat().st_size for path in files)
    return Limits(
        memory_bytes=settings.get("memory_mb", MEMORY_MB) << 20,
        file_bytes=(1 << 28) + images * max(image_bytes, _IMAGE_BYTES),
        cpu_s=600 + packed // 100_000,
    )
