"""Labelled facts of a run: the texts about a step, a measurement and a claim, for every output.

`robustft explain` prints facts as paragraphs, cards as Markdown, the page as HTML, the RO-Crate as descriptions. Hashes
are whole here; a renderer may shorten or mark them (`HASH`). Never imports torch.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from robustft.plan.step import Step
from robustft.provenance.lineage import FileFact, Lineage, came_from
from robustft.provenance.origins import Origins
from robustft.report.claims import MISSING
from robustft.report.verdict_tables import given_text, interval_text, p_text, remarks

BASES = {"published": "the paper", "released": "the released code", "ours": "our choice"}
"""What a value of the configuration may rest on, strongest first."""

HASH = re.compile(r"\b(?:[0-9a-f]{64}|[0-9a-f]{40})\b")
"""A SHA-256 or a commit in the text of a fact."""

TOLD_APART = ("name", "title", "source", "target", "threat", "implementation")
"""Keys of an attack that are no settings, or have their own texts."""


@dataclass(frozen=True)
class Fact:
    """A labelled value; `settings` are its parts, each with the basis and source that the configuration gives."""

    label: str
    value: str = ""
    unit: str = ""
    basis: str = ""
    """`published`, `released` or `ours`; empty for what was observed, and where no origin is on record."""
    source: str = ""
    """The place in the paper or the code, or why the value is ours; else the file of the configuration."""
    settings: tuple[Fact, ...] = ()

    @property
    def text(self) -> str:
        """The value with its unit, then its settings as `key value, key value`."""
        value = f"{self.value} {self.unit}".strip()
        settings = ", ".join(setting._in_a_list for setting in self.settings)
        return "; ".join(part for part in (value, settings) if part) or "none"

    @property
    def _in_a_list(self) -> str:
        value = f"({self.text})" if self.settings else self.value
        return f"{self.label} {value}".strip()

    @property
    def origin(self) -> str:
        """Where the values are from, by basis and source; empty if none has a basis."""
        leaves = self._leaves("")
        names: dict[tuple[str, str], list[str]] = {}
        for path, leaf in leaves:
            if leaf.basis:
                names.setdefault((leaf.basis, leaf.source), []).append(path)
        parts = []
        for basis, source in sorted(names, key=lambda key: list(BASES).index(key[0])):
            place = f"{BASES[basis]}, {source}" if source else BASES[basis]
            all_alike = len(names[basis, source]) == len(leaves)
            parts.append(place if all_alike else f"{', '.join(names[basis, source])}: {place}")
        return "; ".join(parts)

    def _leaves(self, path: str) -> list[tuple[str, Fact]]:
        if not self.settings:
            return [(path, self)]
        inner = [(f"{path}.{one.label}".strip("."), one) for one in self.settings]
        return [leaf for inner_path, one in inner for leaf in one._leaves(inner_path)]


Facts = tuple[Fact, ...]


def settings(values: Mapping[str, Any], origins: Origins, path: str, *, without: tuple[str, ...] = ()) -> Facts:
    """Return the entries of a mapping in a specification as facts; `path` is that of the mapping."""
    return tuple(_setting(key, value, origins, f"{path}.{key}") for key, value in values.items() if key not in without)


def _setting(label: str, value: Any, origins: Origins, path: str) -> Fact:
    if isinstance(value, dict) and value:
        return Fact(label, settings=settings(value, origins, path))
    file, basis, source = origins.get(path, ("", "", ""))
    return Fact(label, "none" if value == {} else str(value), basis=basis, source=source or file)


def threat_fact(label: str, threat: Mapping[str, Any], origins: Origins, path: str) -> Fact:
    """Return a threat model: the norm and its radius eps, exact as configured."""
    return Fact(label, settings=settings({key: threat[key] for key in ("norm", "eps")}, origins, path))


# -- steps -------------------------------------------------------------------------------------------------------------


def facts_of(step: Step, lineage: Lineage) -> Facts:
    """Return the facts of a step, by its kind, and of its run."""
    kinds = {"train": _train, "attack": _attack, "data": _data, "weights": _weights, "download": _download}
    own = kinds[step.kind](step, lineage) if step.kind in kinds else ()
    return (*own, _ran(lineage.record(step).values["circumstances"]))


def _train(step: Step, lineage: Lineage) -> Facts:
    spec, origins = step.spec, lineage.origins(step)
    method, tuning, auxiliary = spec["method"], spec["method"]["tuning"], spec["auxiliary"]
    epoch = lineage.record(step).values["circumstances"].get("selected_epoch")
    initial = [producer.id for producer in lineage.initial_weights(step).values()]
    facts = [
        Fact("Method", method["implementation"], settings=settings(method["parameters"], origins, "method.parameters")),
        Fact(
            "Trains",
            tuning["implementation"] if tuning else "everything",
            settings=settings(tuning.get("parameters", {}), origins, "method.tuning.parameters") if tuning else (),
        ),
        Fact("Backbone", f"{spec['backbone']['name']}: {spec['backbone']['implementation']}"),
        Fact("Initial weights", ", ".join(initial) or "random"),
        _dataset("Data", spec["dataset"], spec["split"]),
        *([_dataset("Auxiliary data", auxiliary, "train")] if auxiliary else []),
        threat_fact("Threat model", spec["threat"], origins, "threat"),
        Fact("Training attack", settings=settings(spec["training_attack"], origins, "training_attack")),
        Fact("Recipe", settings=settings(spec["recipe"], origins, "recipe")),
        Fact("Seed", str(spec["seed"])),
        *([Fact("Selection", f"epoch {epoch}, best on the validation split")] if epoch else []),
    ]
    return tuple(facts)


def _dataset(label: str, dataset: dict[str, Any], split: str) -> Fact:
    images = dataset.get("splits", {}).get(split)
    return Fact(label, f"{dataset['name']}, split {split}" + (f": {images} images" if images else ""))


def _attack(step: Step, lineage: Lineage) -> Facts:
    first, last = step.spec["images"]
    return (
        Fact("Images", f"{first} to {last - 1} of {step.spec['dataset']}, split {step.spec['split']}"),
        *attack_facts(step, lineage).values(),
        Fact("Seed", str(step.spec["seed"])),
    )


def attack_facts(step: Step, lineage: Lineage) -> dict[str, Fact]:
    """Return the attacks of an attack step by name: algorithm, settings, threat model, and target."""
    facts, origins = {}, lineage.origins(step)
    for place, attack in enumerate(step.spec["attacks"]):
        path = f"attacks.{place}"
        target = attack.get("target", "exported_model")
        model = "the exported model"
        attacked = model if target == "exported_model" else f"what {target} makes of {model}"
        own_threat = "threat" in attack
        threat = attack["threat"] if own_threat else step.spec["threat"]
        facts[attack["name"]] = Fact(
            "Attack",
            attack["title"],
            settings=(
                *settings(attack, origins, path, without=TOLD_APART),
                threat_fact("threat", threat, origins, f"{path}.threat" if own_threat else "threat"),
                Fact("attacks", attacked),
            ),
        )
    return facts


def _data(step: Step, lineage: Lineage) -> Facts:
    source = lineage.plan.config.sources[step.id]
    licence = source.get("licence", source.get("terms", "not on record"))
    return (Fact("Source", source["title"]), Fact("Licence", str(licence)), *raw_file_facts(step, lineage))


def _weights(step: Step, lineage: Lineage) -> Facts:
    about = lineage.plan.config.weights[step.id]
    licence = about.get("licence", "not on record")
    return (Fact("Weights", about["title"]), Fact("Licence", licence), *raw_file_facts(step, lineage))


def _download(step: Step, lineage: Lineage) -> Facts:
    return (Fact("File", step.spec["file"]["name"]), Fact("Came from", came_from(lineage.record(step).values)))


def raw_file_facts(step: Step, lineage: Lineage) -> Facts:
    """Return the source files of data or weights, each with its hash, which was checked before use."""
    return tuple(
        Fact(
            "Made from",
            f"{file.name}, SHA-256 {file.sha256}"
            + (f", from {file.came_from}, {file.published}" if file.published else ""),
        )
        for file in lineage.raw_files(step)
    )


def _ran(circumstances: dict[str, Any]) -> Fact:
    machine = circumstances["processor"] or circumstances["machine"]
    attempt = circumstances.get("attempt", 1)
    text = f"{circumstances['seconds']:g} s on {circumstances.get('device', 'cpu')}, {machine}; "
    return Fact("Ran", f"{text}ended {circumstances['ended']}" + (f"; attempt {attempt}" if attempt > 1 else ""))


# -- records and files -------------------------------------------------------------------------------------------------


def code_fact(record: dict[str, Any]) -> Fact:
    """Return which source files a step could import, of which commit."""
    git, source = record["environment"]["git"], record["source"]
    tree = {True: "clean tree", False: "TREE NOT CLEAN"}.get(git["clean"], "tree unknown to git")
    return Fact(
        "Code", f"{len(source['files'])} source files, together {source['sha256']}; commit {git['commit']}, {tree}"
    )


def environment_facts(environment: dict[str, Any]) -> Facts:
    """Return the software that a step ran in."""
    image, lock = environment["image"] or {}, environment["lock"]
    name, base = image.get("name"), image.get("base") or "base unknown"
    torch = environment["packages"].get("torch", "not installed")
    return (
        Fact("Python", f"{environment['python']}, torch {torch}, lock {lock['path']}, SHA-256 {lock['sha256']}"),
        Fact("Image", f"{name} ({base})" if name else "ran outside every image of this project"),
    )


def file_fact(label: str, file: FileFact) -> Fact:
    """Return an output file with the outcome of hashing it again."""
    check = "verified"
    if not file.verified:
        check = f"BUT THE FILE NOW HAS {file.observed}" if file.observed else "BUT THE FILE IS MISSING"
    return Fact(label, f"{file.path}, {file.bytes:,} bytes, SHA-256 {file.recorded}, {check}")


# -- numbers and claims ------------------------------------------------------------------------------------------------


def percent(share: float) -> str:
    """Return a share in percent with one decimal."""
    return f"{100 * share:.1f}"


def measurement_facts(measurement: dict[str, Any]) -> Facts:
    """Return how many images of a measurement stay correct, with Wilson's interval, and its sanity checks."""
    low, high = map(percent, measurement["interval"])
    failed = failed_checks(measurement)
    names = f": {', '.join(check.label for check in failed)}" if failed else ""
    return (
        Fact("Correct", f"{measurement['correct']} of {measurement['images']}", "images"),
        Fact("Accuracy", percent(measurement["accuracy"]), "%"),
        Fact("95 % interval", f"{low} to {high}", "%"),
        Fact("Sanity checks", f"{len(failed)} of {len(measurement['checks'])} failed{names}"),
    )


def failed_checks(measurement: dict[str, Any]) -> Facts:
    """Return the sanity checks of a measurement that failed."""
    return tuple(
        Fact(check["check"], f"{check['value']:.4g}, limit {check['limit']:.4g}. {check.get('text', '')}".strip())
        for check in measurement["checks"]
        if not check["ok"]
    )


def claim_facts(claim: dict[str, Any]) -> Facts:
    """Return the published value of a claim, what was measured against it, and the place it was read from."""
    facts, published, interval = [], published_text(claim), interval_text(claim)
    if published is not None:
        facts.append(Fact("Published", published))
    unit = claim.get("unit", "points")
    if interval:
        seeds = f", {claim['seeds']} seeds" if "seeds" in claim else ""
        facts.append(Fact("Difference", f"{interval}{'' if 'unit' in claim else ' points'}{seeds}"))
    if "at_half_margin" in claim:
        others = f"at half of it {claim['at_half_margin']}, at double {claim['at_double_margin']}"
        facts.append(Fact("Margin", f"{claim['margin']:g} {unit}; {others}"))
    if "p" in claim:
        facts.append(Fact("p, adjusted (Holm)", p_text(claim)))
    if "given" in claim:
        facts.append(Fact("Given", f"the pre-trained checkpoints {given_text(claim)}, each of one training"))
    facts += [Fact("Remark", remark) for remark in remarks(claim)]
    return (*facts, Fact("Source", claim["source"]), Fact("Confidence", claim["confidence"]))


def published_text(claim: dict[str, Any]) -> str | None:
    """Return the published value of a claim as printed; None for an ordering, which has none."""
    if claim["kind"] == "ordering":
        return None
    if claim["value"] == MISSING:
        return "not on record"
    value = claim["value"]
    return f"{value:.{claim.get('decimals', 2)}f}" if isinstance(value, float) else str(value)


def tone(verdict: str, *, reproduces: bool) -> str:
    """Return the colour of a verdict; grey (`none`) where nothing is judged, as of a direction between stand-ins.

    Green (`good`) is only for the papers' own scale.
    """
    if verdict in ("reproduced", "holds"):
        return "good" if reproduces else "plain"
    return {"differs": "bad", "reversed": "bad", "inconclusive": "open"}.get(verdict, "none")
