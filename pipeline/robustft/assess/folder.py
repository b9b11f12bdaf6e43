"""The folder of an evaluation: one ledger with its record for each attack and threat, and the probes of each threat.

A ledger is found again by the digest of its specification (model, images, attack, threat, seed), so a new attack or a
new eps computes itself alone.
"""

from __future__ import annotations

import datetime
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from robustft.errors import IntegrityError, RobustftError
from robustft.evaluate.ledger import Outcome, read_checks, read_ledger
from robustft.files import digest_of, read_json, sha256_file, write_json
from robustft.plan.sources import source_files, source_hashes
from robustft.provenance.environment import circumstances, environment
from robustft.provenance.record import SCHEMA, file_entry, read_record
from robustft.runtime.context import Context

INDEX = "evaluation.json"
FORM = "robustft-evaluation-1"
MODULES = ("robustft.evaluate.step", "robustft.evaluate.probes", "robustft.models.foreign.load")
"""What decides the numbers: its source files are hashed into each record."""


def ledger_name(attack: str, norm: str, eps: str) -> str:
    """Return the name of a ledger, such as `pgd20-linf-8_255`; a clean accuracy is of no threat."""
    return attack if attack == "clean" else f"{attack}-{norm}-{eps.replace('/', '_')}"


class Folder:
    """Files of one model on one set of images."""

    def __init__(self, path: Path, identity: dict[str, Any], *, modules: tuple[str, ...] = ()) -> None:
        self.path, self.identity, self.modules = path, identity, (*MODULES, *modules)
        index = path / INDEX
        if path.is_dir() and not index.is_file() and any(path.iterdir()):
            raise RobustftError(
                "the folder holds something else", where=path, next_step="name a new or empty folder with --to"
            )
        if index.is_file() and (other := read_json(index).get("identity")) != identity:
            names = sorted(key for key in identity if not isinstance(other, dict) or other.get(key) != identity[key])
            raise RobustftError(
                "the folder holds an evaluation of something else",
                where=path,
                observed=f"another {' and '.join(names)}",
                next_step="name another folder with --to",
            )

    def ledger(self, name: str) -> Path:
        """Return the path of a ledger."""
        return self.path / "ledgers" / f"{name}.parquet"

    def has(self, name: str, spec: dict[str, Any]) -> bool:
        """Tell whether a ledger of this specification is here, whole as its record says."""
        ledger, record = self.ledger(name), self.ledger(name).with_suffix(".record.json")
        if not (ledger.is_file() and record.is_file()):
            return False
        try:
            values = read_record(record).values
        except RobustftError:
            return False
        return bool(
            values["step"]["spec_sha256"] == digest_of(spec)
            and values["outputs"]["ledger"]["sha256"] == sha256_file(ledger)
        )

    def make(
        self, name: str, spec: dict[str, Any], work: Callable[[Context], None], log: Callable[[str], None]
    ) -> None:
        """Make one ledger and its record. Finished shards of a killed attempt are kept, and not made again."""
        started, clock = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"), time.monotonic()
        sources = source_hashes(source_files(*self.modules))
        scratch = self.path / "scratch" / f"{name}-{digest_of([spec, sources])[:16]}"
        resumed = scratch.is_dir()
        scratch.mkdir(parents=True, exist_ok=True)
        ledger = self.ledger(name)
        context = Context(inputs={}, outputs={"ledger": ledger}, scratch=scratch, log=log)
        work(context)
        entry = {**file_entry(ledger), "path": ledger.relative_to(self.path).as_posix()}
        record = {
            "schema": SCHEMA,
            "step": {"kind": "evaluate", "id": name, "spec": spec, "spec_sha256": digest_of(spec)},
            "inputs": {},
            "outputs": {"ledger": entry},
            "source": {"files": sources, "sha256": digest_of(sources)},
            "environment": environment(),
            "circumstances": {
                **circumstances(),
                **context.facts,
                "attempt": 1 + resumed,
                "started": started,
                "ended": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
                "seconds": round(time.monotonic() - clock, 3),
                "vouchers": {},
            },
        }
        write_json(ledger.with_suffix(".record.json"), record)
        shutil.rmtree(scratch, ignore_errors=True)
        if (rest := self.path / "scratch").is_dir() and not any(rest.iterdir()):
            rest.rmdir()

    def write_index(self, about: dict[str, Any]) -> None:
        """Write the index: what the evaluation is of, and every ledger and file of probes that is here."""
        names = {
            part: sorted(path.name.removesuffix(end) for path in (self.path / part).glob(f"*{end}"))
            for part, end in (("ledgers", ".parquet"), ("probes", ".json"))
        }
        write_json(self.path / INDEX, {**about, **names})

    def outcome(self, name: str) -> Outcome:
        """Return the outcome of a ledger. Raises IntegrityError if it holds another number of attacks than one."""
        outcomes = read_ledger(self.ledger(name))
        if len(outcomes) != 1:
            raise IntegrityError("a ledger of an evaluation holds one attack", where=self.ledger(name))
        return next(iter(outcomes.values()))

    def checks(self, name: str) -> dict[str, dict[str, float]]:
        """Return the checks stored with a ledger: those of the model, and those of the attack."""
        return read_checks(self.ledger(name))

    def stored(self, name: str, key: dict[str, Any], make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return the values of a file of probes, made if there is none of this key."""
        path = self.path / "probes" / f"{name}.json"
        digest = digest_of([self.identity, key])
        if path.is_file() and (known := read_json(path)).get("key") == digest:
            values: dict[str, Any] = known["values"]
            return values
        values = make()
        write_json(path, {"key": digest, "values": values})
        return values
