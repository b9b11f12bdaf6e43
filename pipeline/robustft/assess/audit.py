"""The audit of an evaluation's folder: hashes, numbers counted again, the card made again; never torch."""

from __future__ import annotations

from pathlib import Path

from robustft.assess.card import as_html, as_markdown
from robustft.assess.results import CARD, ENTRY, NUMBERS, PAGE, numbers_text, read_results, robustbench_entry
from robustft.errors import RobustftError
from robustft.files import digest_of, read_json, sha256_file
from robustft.plan.sources import source_hashes
from robustft.provenance.record import read_record


def audit_folder(folder: Path) -> list[str]:
    """Return every broken link of a folder, each in a line; [] if all hold.

    Raises IntegrityError if it is no folder of an evaluation, or a ledger or record cannot be read.
    """
    results, broken = read_results(folder), []
    for number in results.numbers:
        record = read_record(folder / "ledgers" / f"{number.ledger}.record.json").values
        output = record["outputs"]["ledger"]
        if sha256_file(folder / output["path"]) != output["sha256"]:
            broken.append(f"changed-ledger: {output['path']} is not what its record says")
        if record["step"]["spec"]["identity"] != results.index["identity"]:
            broken.append(f"other-subject: {output['path']} is of another model or other images")
        broken += [f"edited-source: {name} ({number.ledger})" for name in _edited(record["source"]["files"])]
    for path, sha256 in results.index["files"].items():
        if Path(path).is_file() and sha256_file(path) != sha256:
            broken.append(f"changed-weights: {path}")
    counted = numbers_text(results).splitlines()
    written = (folder / NUMBERS).read_text(encoding="utf-8").splitlines()
    for line in range(max(len(counted), len(written))):
        if counted[line : line + 1] != written[line : line + 1]:
            broken.append(f"wrong-number: {NUMBERS}, line {line + 1} is not what the ledgers say")
    for name, text in ((CARD, as_markdown(results)), (PAGE, as_html(results))):
        if (folder / name).read_text(encoding="utf-8") != text:
            broken.append(f"edited-card: {name} is not what the ledgers and probes say")
    if digest_of(read_json(folder / ENTRY)) != digest_of(robustbench_entry(results)):
        broken.append(f"edited-card: {ENTRY} is not what the ledgers and probes say")
    return broken


def _edited(files: dict[str, str]) -> list[str]:
    edited = []
    for name, sha256 in files.items():
        try:
            if source_hashes([name])[name] != sha256:
                edited.append(name)
        except (RobustftError, OSError):
            edited.append(name)
    return edited


def explain_folder(folder: Path) -> str:
    """Tell in words where each number of a folder comes from."""
    results = read_results(folder)
    lines = [results.headline, ""]
    for number in results.numbers:
        record = read_record(folder / "ledgers" / f"{number.ledger}.record.json")
        values = record.values
        threat = "no threat" if number.algorithm == "none" else f"{number.norm} eps {number.eps}"
        lines += [
            f"{number.title}, {threat}: {100 * number.accuracy:.2f} % is {number.correct} of {number.images} images",
            f"  counted in ledgers/{number.ledger}.parquet, SHA-256 {values['outputs']['ledger']['sha256']}",
            f"  made at {values['circumstances']['ended']} in {values['circumstances']['seconds']} s by commit "
            f"{values['environment']['git']['commit']}, torch {values['environment']['packages'].get('torch')}",
        ]
    model = results.index["identity"]["model"]
    lines += ["", f"the model is {model['title']}; its weights have the SHA-256 {model['state']}"]
    lines.append(
        f"the images are {results.index['images']}; their digest is {results.index['identity']['images']['digest']}"
    )
    return "\n".join(lines)
