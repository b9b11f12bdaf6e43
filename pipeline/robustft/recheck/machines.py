"""What has to be equal for a re-run to give the same bytes, read from the two records."""

from __future__ import annotations

from typing import Any

from robustft.provenance.record import Record


def kind_of(record: Record) -> dict[str, Any]:
    """Return what decides the rounding of a step: processor, device, threads, torch, and the source files.

    The author's record states its own machine. A false statement gains the tolerance of another kind, and no more.
    """
    values = record.values
    circumstances, environment = values["circumstances"], values["environment"]
    return {
        **{part: circumstances.get(part) for part in ("machine", "processor", "device", "threads")},
        "torch": environment["packages"].get("torch"),
        "sources": values["source"]["sha256"],
    }


def other_kind(recorded: Record, again: Record) -> list[str]:
    """Return in which parts the machine of a re-run differs; nothing if it is of the same kind."""
    theirs, ours = kind_of(recorded), kind_of(again)
    return [part for part in ours if ours[part] != theirs[part]]
