"""A comparison of two results folders as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from robustft.provenance.compare import DIFFERS, EQUAL, ONLY, WITHIN, Comparison
from robustft.provenance.results_folder import Cell

LISTED = 20
"""How many entries of a list are printed unless all are asked for."""


def text(comparison: Comparison, *, everything: bool = False) -> str:
    """Return the comparison for a terminal: counts, what differs, and the verdict of the two folders."""
    return "\n".join(_lines(comparison, limit=None if everything else LISTED))


def _lines(comparison: Comparison, *, limit: int | None) -> Iterator[str]:
    a, b, counts = comparison.a, comparison.b, comparison.counts()
    yield f"A: {a.folder}\nB: {b.folder}\nscale {a.scale}"
    statuses = (EQUAL, WITHIN, DIFFERS, *ONLY)
    width = max(map(len, counts))
    yield "\ncells".ljust(width + 3) + "  ".join(statuses)
    for paper, count in counts.items():
        yield f"  {paper:<{width}}" + "  ".join(f"{count[status]:>{len(status)}}" for status in statuses)
    pairs = [pair for pair in comparison.pairs if pair.status not in (EQUAL, WITHIN)]
    listed = [f"{pair.name}: {_mean(pair.a)} against {_mean(pair.b)}" for pair in pairs]
    yield from _listed("cells that differ, or are in one folder alone", listed, limit)
    flipped = [f"{claim}: {one} in A, {other} in B" for claim, (one, other) in comparison.flipped.items()]
    yield from _listed("verdicts that differ", flipped, limit)
    yield f"\nfiles: {comparison.bytes['equal']} equal byte for byte, {comparison.bytes['different']} not"
    unrepeated = "steps that wrote other bytes from the same inputs, source, packages and kind of machine"
    yield from _listed(unrepeated, comparison.unrepeated, limit)
    yield f"\ncontent root of A: {a.content_root}\ncontent root of B: {b.content_root}"
    yield _verdict(comparison)


def _verdict(comparison: Comparison) -> str:
    if not comparison.same:
        return "DIFFERENT"
    return "EQUAL: the same numbers" if comparison.roots_equal else "WITHIN SPREAD: no number differs by more"


def _listed(title: str, entries: list[str], limit: int | None) -> Iterable[str]:
    if not entries:
        return []
    more = len(entries) - len(entries[:limit])
    rest = [f"  and {more} more; --all lists them"] if more else []
    return [f"\n{title}:", *(f"  {entry}" for entry in entries[:limit]), *rest]


def _mean(cell: Cell | None) -> str:
    """Return a cell's mean and standard deviation; shares in percent."""
    if cell is None:
        return "none"
    factor, unit = (100.0, " %") if cell["unit"] == "share" else (1.0, f" {cell['unit']}")
    deviation = "" if cell["sd"] is None else f" +- {factor * cell['sd']:.2f}"
    images = f" on {cell['images']} images" if cell["images"] else ""
    return f"{factor * cell['mean']:.2f}{deviation}{unit}{images}"
