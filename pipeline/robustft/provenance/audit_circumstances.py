"""Checks of what results were made with: configuration, source, origins of values, environments and images."""

from __future__ import annotations

import json
from collections import defaultdict

from robustft.files import IS_WHEEL, ROOT, canonical_json, sha256_file
from robustft.plan.sources import LOCK, source_hashes
from robustft.provenance.audit_state import AuditState, differences, several
from robustft.provenance.container import unlike
from robustft.provenance.origins import recorded_origins


def check_configuration(state: AuditState) -> None:
    """Compare recorded specifications with the plan. An edit is one finding, whatever the number of its steps."""
    edits: dict[str, list[str]] = defaultdict(list)
    for key, record in state.records.items():
        for text in differences(record.values["step"]["spec"], state.plan.steps[key].spec):
            edits[text].append(key)
    for text, keys in edits.items():
        # A specification also holds the digests of earlier steps. The edit behind a new digest is its own finding.
        if not text.startswith(("initial.digests:", "models:")):
            state.add("edited-config", text.split(":")[0], f"{text.split(': ', 1)[1]} (in {several(keys)})")


def check_source(state: AuditState) -> None:
    """Compare recorded source files with those here. An edit is one finding, whatever the number of its steps."""
    edits: dict[str, list[str]] = defaultdict(list)
    current: dict[tuple[str, ...], dict[str, str]] = {}
    for key, record in state.records.items():
        step = state.plan.steps[key]
        if step.kind == "download":
            continue  # the published hash identifies its bytes, whatever code fetched them
        files = tuple(step.sources())
        now = current[files] = current.get(files) or source_hashes(list(files))
        recorded = record.values["source"]["files"]
        for name in sorted({*now, *recorded}):
            if now.get(name) != recorded.get(name):
                edits[name].append(key)
    for name, keys in edits.items():
        state.add("edited-source", name, f"it is not the file that {several(keys)} ran")


def note_origins(state: AuditState) -> None:
    """Note where a record gives another basis or source for a value than the configuration does now.

    It is no finding: a better citation of the same value must not make old results void. An edit of the record
    itself is a finding, as for any part of it.
    """
    changes: dict[str, list[str]] = defaultdict(list)
    for key, record in state.records.items():
        recorded = record.values["step"].get("origins")
        if recorded is not None:
            now = recorded_origins(state.plan, state.plan.steps[key])
            for text in differences(dict(recorded), dict(now)):
                changes[text].append(key)
    state.report.notes += [f"origin of {text} (in {several(keys)})" for text, keys in changes.items()]


def note_environments(state: AuditState) -> None:
    """Note the commits that the steps ran from, edited trees, other locks, and packages that are not as locked."""
    environments = [record.values["environment"] for record in state.records.values()]
    if not environments:
        return
    notes, total, lock = state.report.notes, len(environments), sha256_file(ROOT / LOCK)
    edited = sum(environment["git"]["clean"] is not True for environment in environments)
    other_lock = sum(environment["lock"]["sha256"] != lock for environment in environments)
    wheels = sum(environment["git"].get("wheel", False) for environment in environments)
    unlocked = sorted({name for environment in environments for name in environment["lock"]["not_as_locked"]})
    commits = sorted({str(environment["git"]["commit"])[:12] for environment in environments})
    notes.append(f"commits: {', '.join(commits)}")
    for count, text in (
        (edited, "ran from a tree that was not clean, or that git does not know"),
        (other_lock, f"ran under another {LOCK} than today's"),
        (wheels, "ran from a wheel: git was asked when it was built"),
    ):
        if count:
            notes.append(f"{count} of {total} steps {text}")
    if IS_WHEEL:
        notes.append("this wheel holds no README and no docs/: their numbers were not checked")
    if unlocked:
        notes.append(f"packages not as locked: {', '.join(unlocked)}")


def check_images(state: AuditState, *, required: bool) -> None:
    """Note which steps did not run in an image of this checkout; if images are required it is a finding.

    An image of a role that the configuration has not is a finding in any case: there is none that could be built.
    """
    by_image: dict[str, list[str]] = defaultdict(list)
    for key, record in state.records.items():
        by_image[canonical_json(record.values["environment"]["image"])].append(key)
    for image, keys in by_image.items():
        reason = unlike(json.loads(image), state.plan.config.images)
        if reason is None:
            continue
        image_of = json.loads(image) or {}
        if required or (image_of.get("name") and image_of.get("role") not in state.plan.config.images):
            state.add("wrong-image", several(keys), reason)
        else:
            state.report.notes.append(f"{len(keys)} of {len(state.records)} steps {reason}: {several(keys)}")
