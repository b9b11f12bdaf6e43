"""What the numbers of a table or figure rest on, in words: threat model, attack, split, images and seeds.

Every word is from the plan (plan/shown.py) or from the cells that are shown; none is written by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from robustft.report.cells import across_datasets

NO_REPRODUCTION = "not a reproduction of a published number"
NORMS = {"linf": "Linf", "l2": "L2", "l1": "L1"}

Cell = Mapping[str, Any]


def basis(spec: Mapping[str, Any], display: Mapping[str, Any], cells: Sequence[Cell]) -> list[str]:
    """Return the sentences that stand in the head of a table and in its caption, or in the caption of a figure.

    Args:
        spec: of the table or figure: `shown`, the titles of `attacks`, `scale`, and `monitored` for training.
        display: its entry; `across` if its columns are data sets.
        cells: the cells that it shows.
    """
    shown, titles = in_order(spec["shown"], display), spec["attacks"]
    stand_ins = "" if spec["reproduces"] else f": small stand-ins, {NO_REPRODUCTION}"
    sentences = [*_threats(shown, titles), *_monitored(spec), *_evaluations(display, cells, titles)]
    return [*sentences, f"Scale {spec['scale']}{stand_ins}."]


def in_order(shown: Mapping[str, Any], display: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is shown in the order of the display's columns, the rest by name.

    The keys of a specification have no order: it is kept and compared as JSON with sorted keys.
    """
    names = dict.fromkeys([*(display.get("columns") or []), *sorted(shown)])
    return {name: shown[name] for name in names if name in shown}


# -- threat models and attacks -----------------------------------------------------------------------------------------


def threat(one: Mapping[str, Any]) -> str:
    """Return a threat model, such as `Linf, eps 8/255`."""
    return f"{NORMS.get(one['norm'], one['norm'])}, eps {one['eps']}"


def effort(one: Mapping[str, Any]) -> str:
    """Return how long an attack searches, such as `10 steps`."""
    parts = [str(one["version"])] if "version" in one else []
    parts += [_counted(one["steps"], "step")] if "steps" in one else []
    parts += [_counted(one["queries"], "query", "queries")] if "queries" in one else []
    parts += [_counted(one["iterations"], "iteration")] if "iterations" in one else []
    parts += [f"{one['square_queries']:,} queries of Square"] if "square_queries" in one else []
    return " with ".join(parts)


def _counted(count: int, one: str, several: str = "") -> str:
    return f"{count:,} {one if count == 1 else several or one + 's'}"


def _threats(shown: Mapping[str, Mapping[str, Any]], titles: Mapping[str, str]) -> list[str]:
    attacked = {name: one for name, one in shown.items() if "norm" in one}
    if not attacked:
        return ["Threat model: none, clean images."] if shown else []
    efforts = _by(attacked, effort, titles)
    attack = f"{titles[next(iter(attacked))]}, {efforts}" if len(attacked) == 1 else efforts
    return [f"Threat model: {_by(attacked, threat, titles)}.", *([f"Attack: {attack}."] if efforts else [])]


def _by(attacked: Mapping[str, Mapping[str, Any]], text: Callable[[Any], str], titles: Mapping[str, str]) -> str:
    """Return the text of all attacks once if it is the same for all, else by attack without those that have none."""
    texts = {titles[name]: text(one) for name, one in attacked.items()}
    if len(set(texts.values())) == 1:
        return next(iter(texts.values()))
    return "; ".join(f"{title}: {said}" for title, said in texts.items() if said)


def _monitored(spec: Mapping[str, Any]) -> list[str]:
    """Say what histories of training were measured with, if the figure shows them."""
    one = spec.get("monitored")
    if not one:
        return []
    images = ", ".join(f"{'/'.join(f'{n:,}' for n in counts)} {split}" for split, counts in one["images"].items())
    attack = f"{one['title']}, {threat(one)}, {effort(one)}" if "norm" in one else one["title"]
    seeds = _seeds(one["seeds"])
    return [f"Monitoring attack: {attack}, on {images} images of {', '.join(one['datasets'])}; {seeds}."]


# -- evaluations: split, images, seeds ---------------------------------------------------------------------------------


def _evaluations(display: Mapping[str, Any], cells: Sequence[Cell], titles: Mapping[str, str]) -> list[str]:
    """Say of each evaluation how many images of which split it attacks, with which seeds, and which columns are its."""
    by_name: dict[str, list[Cell]] = {}
    for cell in cells:
        if cell["evaluation"] is not None:
            by_name.setdefault(cell["evaluation"], []).append(cell)
    sentences = []
    for name, group in by_name.items():
        attacks = [titles[attack] for attack in dict.fromkeys(cell["attack"] for cell in group)]
        columns = f" ({', '.join(attacks)})" if len(by_name) > 1 else ""
        sentences.append(f"Evaluation {name}{columns}: {_images(display, group)}; {_seeds_of(group)}.")
    return sentences


def _images(display: Mapping[str, Any], cells: Sequence[Cell]) -> str:
    split = cells[0]["split"]
    by_dataset: dict[str, list[str]] = {}
    for cell in cells:
        by_dataset.setdefault(cell["dataset"], []).append(f"{cell['images']:,}")
    counts = {dataset: "/".join(dict.fromkeys(found)) for dataset, found in by_dataset.items()}
    several = f"{len(counts)} data sets" if across_datasets(display) else ", ".join(counts)
    datasets = f"each of {several}" if len(counts) > 1 else several
    if len(set(counts.values())) == 1:
        return f"{next(iter(counts.values()))} {split} images of {datasets}"
    return f"{split} images: " + ", ".join(f"{count} of {dataset}" for dataset, count in counts.items())


def _seeds_of(cells: Sequence[Cell]) -> str:
    return "/".join(dict.fromkeys(_seeds(cell["seeds"]) for cell in cells))


def _seeds(seeds: Sequence[int]) -> str:
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"
