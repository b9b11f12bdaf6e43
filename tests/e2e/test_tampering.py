"""Broken links of a real run are named by the command: edits of configuration and source.

Single files are tampered with in tests/provenance/test_audit_files.py and the tests beside it.
"""

import re
from pathlib import Path


def findings(folder: Path, tools) -> list[str]:
    """Return the audit's findings, `[code] subject: text`; it must fail if there are any."""
    audit = tools["robustft"](folder, "audit", "--scale", "smoke")
    found = [line.removeprefix("broken: ") for line in audit.stdout.splitlines() if line.startswith("broken: ")]
    assert audit.returncode == (1 if found else 0), audit.stdout + audit.stderr
    return found


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text, f"{old!r} is not in {path}"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_an_edited_configuration_is_named_once(copy_of_finished, tools):
    edit(
        copy_of_finished / "config" / "scales" / "smoke.yaml",
        "lr: 0.02, milestones",
        "lr: 0.03, milestones",
    )
    (found,) = findings(copy_of_finished, tools)
    assert re.fullmatch(
        r"\[edited-config\] recipe\.lr: recorded 0\.02, now 0\.03 \(in train:twins/main/\S+ and \d+ more steps\)", found
    )


def test_an_edited_pretraining_is_named_once_and_not_for_each_run_that_starts_from_it(copy_of_finished, tools):
    path = copy_of_finished / "config" / "scales" / "demo.yaml"  # which smoke extends
    before, after = path.read_text().split("  digits_at:\n", 1)
    path.write_text(before + "  digits_at:\n" + after.replace("lr: 0.05", "lr: 0.06", 1))
    (found,) = findings(copy_of_finished, tools)
    assert found.startswith("[edited-config] recipe.lr: recorded 0.05, now 0.06 (in train:pretraining/digits_at)")


def test_an_edited_source_file_is_named(copy_of_finished, tools):
    edit(copy_of_finished / "pipeline" / "robustft" / "methods" / "trades.py", "self.beta * kl", "2 * self.beta * kl")
    (found,) = findings(copy_of_finished, tools)
    assert found.startswith(
        "[edited-source] pipeline/robustft/methods/trades.py: it is not the file that train:twins/main/"
    )
