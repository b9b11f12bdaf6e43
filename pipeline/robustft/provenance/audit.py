"""The audit: every number back to data and source, every broken link by name. Needs no network, GPU or torch.

It trusts nothing but the configuration and the source of this checkout: every file is hashed again, every aggregate
counted again from its ledgers, every table rendered again.
"""

from __future__ import annotations

import importlib.util
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from robustft.data.fetch.published import Observed
from robustft.errors import RobustftError
from robustft.files import IS_WHEEL, ROOT, canonical_json, digest_of, read_json, sha256_file, sha256_files
from robustft.plan import Plan
from robustft.plan.sources import source_hashes
from robustft.plan.step import Step
from robustft.provenance.container import unlike
from robustft.provenance.environment import LOCK
from robustft.provenance.origins import recorded_origins
from robustft.provenance.readme import readme_findings
from robustft.provenance.record import Record, read_record
from robustft.report import numbers, tables, verdicts


@dataclass(frozen=True)
class Finding:
    """One broken link: what kind, which file or cell, and what was expected against what was found."""

    code: str
    subject: str
    text: str

    def __str__(self) -> str:
        return f"[{self.code}] {self.subject}: {self.text}"


@dataclass
class AuditReport:
    """What was checked, what is broken, and what a reader should know although it breaks nothing."""

    scale: str
    counts: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    root: str | None = None

    @property
    def ok(self) -> bool:
        """Whether no link is broken."""
        return not self.findings

    def text(self) -> str:
        """Return the report for a terminal."""
        checked = ", ".join(f"{count} {what}" for what, count in self.counts.items())
        lines = [f"audit of scale {self.scale}", f"checked: {checked}"]
        lines += [f"note: {note}" for note in self.notes]
        lines += [f"broken: {finding}" for finding in self.findings]
        if self.root:
            lines.append(f"root: {self.root}")
        verdict = "every number leads back to data and source" if self.ok else f"{len(self.findings)} broken links"
        return "\n".join([*lines, f"{'PASS' if self.ok else 'FAIL'}: {verdict}"])


def differences(recorded: Any, now: Any, path: str = "") -> list[str]:
    """Return where two JSON values differ, each as `path: recorded X, now Y`."""
    if isinstance(recorded, dict) and isinstance(now, dict):
        found = []
        for key in sorted({*recorded, *now}, key=str):
            inner = f"{path}.{key}".lstrip(".")
            if key not in recorded or key not in now:
                side = "is new" if key in now else "is gone"
                found.append(f"{inner}: {side}")
            else:
                found += differences(recorded[key], now[key], inner)
        return found
    return [] if recorded == now else [f"{path}: recorded {recorded!r}, now {now!r}"]


class _Auditor:
    """Walks the plan's steps in order and collects findings."""

    def __init__(self, plan: Plan, *, require_images: bool) -> None:
        self.plan, self.report, self.require_images = plan, AuditReport(plan.scale), require_images
        self.records: dict[str, Record] = {}
        self.hashes: dict[str, str | None] = {}
        self.broken: set[str] = set()
        """Files that a finding already names: what depends on them is not reported again."""

    def add(self, code: str, subject: str, text: str) -> None:
        """Report a broken link, once for each subject."""
        self.broken.add(subject)
        self.report.findings.append(Finding(code, subject, text))

    def hash(self, path: str) -> str | None:
        """Return a file's SHA-256, None if it is missing; each file is hashed once."""
        if path not in self.hashes:
            self._hash_all([path])
        return self.hashes[path]

    def _hash_all(self, paths: Iterable[str]) -> None:
        new = sha256_files(path for path in paths if path not in self.hashes)
        self.hashes |= new
        self.report.counts["files hashed"] += len(new)

    def run(self) -> AuditReport:
        """Check everything."""
        for step in self.plan.steps.values():
            self._read(step)
        self._hash_all(path for key in self.records for path in self.plan.steps[key].outputs.values())
        for step in self.plan.steps.values():
            if step.key in self.records:
                self._outputs(step)
                self._inputs(step)
        self._grouped()
        self._origins()
        self._sources_of_data()
        self._downloads()
        for step in self.plan.of_kind("numbers"):
            self._paper(step)
        self._notes()
        self._images()
        self._manifest()
        for code, subject, text in readme_findings(self.report.counts):
            self.add(code, subject, text)
        return self.report

    # -- single steps ----------------------------------------------------------------------------------------------

    def _read(self, step: Step) -> None:
        self.report.counts["steps"] += 1
        if not Path(step.record).is_file():
            self.add("missing-record", step.record, f"{step.key} has not been run, or its record was removed")
            return
        try:
            record = read_record(step.record)
        except RobustftError as error:
            self.add("invalid-record", step.record, " ".join(str(error).split()))
            return
        self.hashes[step.record] = record.sha256
        recorded = record.values["step"]
        if (recorded["kind"], recorded["id"]) != (step.kind, step.id):
            other = f"{recorded['kind']}:{recorded['id']}"
            self.add("invalid-record", step.record, f"it is the record of {other}, not of {step.key}")
            return
        self.records[step.key] = record

    @cached_property
    def _made(self) -> dict[str, str]:
        """Which output each recorded hash belongs to."""
        return {
            entry["sha256"]: entry["path"]
            for record in self.records.values()
            for entry in record.values["outputs"].values()
        }

    def _outputs(self, step: Step) -> None:
        record = self.records[step.key]
        for path in step.outputs.values():
            entry = record.output(path)
            observed = self.hash(path)
            if entry is None:
                self.add("invalid-record", step.record, f"it does not name the output {path}")
            elif observed is None:
                self.add("missing-file", path, f"its record {step.record} says it was made")
            elif observed != entry["sha256"]:
                self.add("changed-file", path, self._what_changed(step, path, entry["sha256"], observed))

    def _what_changed(self, step: Step, path: str, recorded: str, observed: str) -> str:
        text = f"recorded SHA-256 {recorded[:16]}..., found {observed[:16]}..."
        owner = self._made.get(observed)
        if owner and owner != path:
            return f"{text}; it is the file recorded as {owner}"
        if step.kind == "table":
            return f"{text}; {self._edited_cells(step, path)}"
        return text

    def _edited_cells(self, step: Step, path: str) -> str:
        kind = Path(path).suffix[1:]
        try:
            grid = self._grid(step)
            expected = tables.parse_rows(tables.FORMATS[kind](grid), kind)
            observed = tables.parse_rows(Path(path).read_text(encoding="utf-8"), kind)
        except (RobustftError, OSError, ValueError, KeyError):
            return "its ledgers cannot be counted"
        if [len(row) for row in expected] != [len(row) for row in observed]:
            return "rows or columns were added or removed"
        offset = len(grid.header) - len(grid.column_names)
        edited = [
            f"cell {step.id}:{grid.row_names[r]}/{grid.column_names[c - offset]} reads '{b}', its ledgers give '{a}'"
            for r, (ours, theirs) in enumerate(zip(expected, observed, strict=True))
            for c, (a, b) in enumerate(zip(ours, theirs, strict=True))
            if a != b and c >= offset
        ]
        return "; ".join(edited) or "text around its cells was edited"

    def _inputs(self, step: Step) -> None:
        values = self.records[step.key].values
        vouchers = values["circumstances"].get("vouchers", {})
        for role, path in step.inputs.items():
            entry = values["inputs"].get(role)
            if entry is None or entry["path"] != path:
                self.add("invalid-record", step.record, f"it does not name the input {path}")
                continue
            producer = self.plan.producer(path)
            if producer is None or producer.key not in self.records:
                continue
            made = self.records[producer.key].output(path)
            if made and made["sha256"] != entry["sha256"] and path not in self.broken:
                text = f"read {entry['sha256'][:16]}..., but {producer.record} says {made['sha256'][:16]}... was made"
                self.add("broken-link", f"{step.key} <- {path}", text)
            self._voucher(step, role, producer, vouchers)

    def _voucher(self, step: Step, role: str, producer: Step, vouchers: dict[str, Any]) -> None:
        quoted = vouchers.get(role, {}).get("sha256")
        observed = self.records[producer.key].sha256
        if quoted != observed and producer.record not in self.broken:
            text = f"{step.record} quotes it as {str(quoted)[:16]}..., found {observed[:16]}..."
            self.add("changed-record", producer.record, text)

    # -- things that many steps share --------------------------------------------------------------------------------

    def _grouped(self) -> None:
        """Report edits of configuration and source once for each edit, not once for each step that it touches."""
        config: dict[str, list[str]] = defaultdict(list)
        source: dict[str, list[str]] = defaultdict(list)
        current: dict[tuple[str, ...], dict[str, str]] = {}
        for key, record in self.records.items():
            step = self.plan.steps[key]
            for text in differences(record.values["step"]["spec"], step.spec):
                config[text].append(key)
            if step.kind == "download":
                continue  # its bytes are those that were published, whatever code fetched them
            files = tuple(step.sources())
            now = current[files] = current.get(files) or source_hashes(list(files))
            recorded = record.values["source"]["files"]
            for name in sorted({*now, *recorded}):
                if now.get(name) != recorded.get(name):
                    source[name].append(key)
        for text, keys in config.items():
            # An upstream step's digest stands in a specification too; the edit behind it is reported by itself.
            if not text.startswith(("initial.digests:", "models:")):
                self.add("edited-config", text.split(":")[0], f"{text.split(': ', 1)[1]} (in {_several(keys)})")
        for name, keys in source.items():
            self.add("edited-source", name, f"it is not the file that {_several(keys)} ran")

    def _origins(self) -> None:
        """Note where a record names another basis or source for a value than the configuration does now.

        It is no finding: a better citation of the same value must not make old results void. An edit of the record
        itself is one, as for any part of it.
        """
        changed: dict[str, list[str]] = defaultdict(list)
        for key, record in self.records.items():
            recorded = record.values["step"].get("origins")
            if recorded is not None:
                now = recorded_origins(self.plan, self.plan.steps[key])
                for text in differences(dict(recorded), dict(now)):
                    changed[text].append(key)
        self.report.notes += [f"origin of {text} (in {_several(keys)})" for text, keys in changed.items()]

    def _sources_of_data(self) -> None:
        for step in [*self.plan.of_kind("data"), *self.plan.of_kind("weights")]:
            source = step.spec["source" if step.kind == "data" else "weights"]
            if "package_file" not in source:  # made from another step's output, which has a record
                continue
            package, _, rest = source["package_file"].partition("/")
            module = importlib.util.find_spec(package)
            if module is None or module.origin is None:
                self.report.notes.append(f"the source file of {step.id} is not on this machine, so it was not hashed")
                continue
            observed = self.hash(str(Path(module.origin).parent / rest))
            if observed != source["sha256"]:
                self.add(
                    "changed-source-data", source["package_file"], f"expected {source['sha256']}, found {observed}"
                )

    def _downloads(self) -> None:
        """Check each downloaded file against what its publisher said of it, whatever the record says."""
        for step in self.plan.of_kind("download"):
            path = Path(step.outputs["file"])
            if path.exists() and (problem := Observed.of(path, log=lambda _: None).problem(step.spec["file"])):
                self.add("changed-download", str(path), problem)

    # -- recomputing -------------------------------------------------------------------------------------------------

    def _numbers(self, step: Step) -> dict[str, Any]:
        return numbers.compute(step.spec, {role: Path(path) for role, path in step.inputs.items()})

    def _grid(self, step: Step) -> tables.Grid:
        producer = self.plan.producer(step.inputs["numbers"])
        assert producer is not None
        return tables.build_grid(step.spec, self._numbers(producer))

    def _paper(self, step: Step) -> None:
        """Count a paper's numbers again and render its tables and verdicts again."""
        if not self._holds(step.inputs.values()):
            return
        paper, computed = step.id, self._numbers(step)
        self.report.counts["ledgers counted"] += len(step.spec["members"])
        self.report.counts["measurements"] += len(computed["measurements"])
        self._same(step.outputs["numbers"], read_json, computed)
        self._same(step.outputs["metrics"], read_json, numbers.metrics(computed))
        for table in (t for t in self.plan.of_kind("table") if t.id.split("/")[0] == paper):
            grid = tables.build_grid(table.spec, computed)
            self.report.counts["table cells"] += len(grid.rows) * len(grid.column_names)
            for kind, output in table.outputs.items():
                self._same(output, _read_text, tables.FORMATS[kind](grid))
        judged = self.plan.step("verdicts", paper)
        if self._holds(judged.inputs.values()):
            content = verdicts.judged(judged.spec, {role: Path(path) for role, path in judged.inputs.items()})
            cells = sum(len(table.get("cells", [])) for table in content.get("tables", []))
            self.report.counts["verdicts"] += len(content["verdicts"]) + cells
            self._same(judged.outputs["json"], read_json, content)

    def _holds(self, paths: Iterable[str]) -> bool:
        """Tell whether files are what their records say, so that something may be counted from them."""
        makers = {path: self.plan.producer(path) for path in paths}
        return all(
            self.hash(path) and path not in self.broken and (maker is None or maker.key in self.records)
            for path, maker in makers.items()
        )

    def _same(self, path: str, read: Callable[[str], Any], computed: Any) -> None:
        """Compare what a file holds with what was computed; that it cannot be read is a finding too."""
        if self.hash(path) is None or path in self.broken:
            return
        try:
            content = read(path)
        except (RobustftError, UnicodeDecodeError) as error:
            self.add("changed-file", path, " ".join(str(error).split()))
            return
        if content != computed:
            detail = "; ".join(differences(content, computed)[:3])
            self.add("wrong-number", path, f"counting its ledgers again gives something else: {detail}")

    # -- the rest ------------------------------------------------------------------------------------------------------

    def _notes(self) -> None:
        environments = [record.values["environment"] for record in self.records.values()]
        if not environments:
            return
        lock = sha256_file(ROOT / LOCK)
        dirty = sum(environment["git"]["clean"] is not True for environment in environments)
        other_lock = sum(environment["lock"]["sha256"] != lock for environment in environments)
        unlocked = sorted({name for environment in environments for name in environment["lock"]["not_as_locked"]})
        commits = sorted({str(environment["git"]["commit"])[:12] for environment in environments})
        total = len(environments)
        self.report.notes.append(f"commits: {', '.join(commits)}")
        for count, text in (
            (dirty, "ran from a tree that was not clean, or that git does not know"),
            (other_lock, f"ran under another {LOCK} than today's"),
        ):
            if count:
                self.report.notes.append(f"{count} of {total} steps {text}")
        if wheels := sum(environment["git"].get("wheel", False) for environment in environments):
            self.report.notes.append(f"{wheels} of {total} steps ran from a wheel: git was asked when it was built")
        if IS_WHEEL:
            self.report.notes.append("this wheel holds no README and no docs/: their numbers were not checked")
        if unlocked:
            self.report.notes.append(f"packages not as locked: {', '.join(unlocked)}")

    def _images(self) -> None:
        """Tell which steps ran in no image of this checkout, in notes, or in findings if images are required."""
        alike: dict[str, list[str]] = defaultdict(list)
        for key, record in self.records.items():
            alike[canonical_json(record.values["environment"]["image"])].append(key)
        for image, keys in alike.items():
            reason = unlike(json.loads(image), self.plan.config.images)
            if reason is None:
                continue
            if self.require_images:
                self.add("wrong-image", _several(keys), reason)
            else:
                self.report.notes.append(f"{len(keys)} of {len(self.records)} steps {reason}: {_several(keys)}")

    def _manifest(self) -> None:
        step = self.plan.step("manifest", self.plan.scale)
        path = step.outputs["manifest"]
        if not self._holds([path]):
            return
        manifest = read_json(path)
        for record, sha256 in manifest["records"].items():
            if record not in self.broken and self.hash(record) != sha256:
                self.add(
                    "changed-record",
                    record,
                    f"the manifest has {sha256[:16]}..., found {str(self.hash(record))[:16]}...",
                )
        if digest_of(manifest["records"]) == manifest["root"]:
            self.report.root = manifest["root"]
        else:
            self.add("wrong-number", path, "the root is not the hash of the records")


def _read_text(path: str) -> str:
    return Path(path).read_text(encoding="utf-8")


def _several(keys: list[str]) -> str:
    return keys[0] if len(keys) == 1 else f"{keys[0]} and {len(keys) - 1} more steps"


def audit(plan: Plan, *, require_images: bool = False) -> AuditReport:
    """Check every step of a plan in the working directory, and the README: every number back to data and source.

    It needs no network, GPU or torch. What is broken is in the report's `findings`. With `require_images` a step that
    ran outside this project's container images is a finding too.

    >>> import robustft
    >>> report = robustft.audit(robustft.make_plan(scale="smoke", papers=["twins"]))
    >>> report.ok  # nothing has been run in this folder
    False
    >>> report.findings[0].code
    'missing-record'
    """
    return _Auditor(plan, require_images=require_images).run()
