"""Each broken link is named exactly, and nothing else is."""

import json
import shutil
from pathlib import Path

import pytest

RUNS = "results/smoke/twins/main/digits_5to9"


def findings(folder: Path, tools) -> list[str]:
    """Return the audit's findings, `[code] subject: text`; it must fail if there are any."""
    audit = tools["robustft"](folder, "audit", "--scale", "smoke")
    found = [line.removeprefix("broken: ") for line in audit.stdout.splitlines() if line.startswith("broken: ")]
    assert audit.returncode == (1 if found else 0), audit.stdout + audit.stderr
    return found


def flip_byte(path: Path, position: int) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 0x01
    path.write_bytes(data)


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text, f"{old!r} is not in {path}"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


@pytest.mark.parametrize("position", [10, 400, -10])
def test_a_changed_ledger_byte_is_named(copy_of_finished, tools, position):
    ledger = f"{RUNS}/at/seed1/robustness.1of1.ledger.parquet"
    flip_byte(copy_of_finished / ledger, position)
    (found,) = findings(copy_of_finished, tools)
    assert found.startswith(f"[changed-file] {ledger}: recorded SHA-256")


def test_swapped_checkpoints_are_named_with_their_owners(copy_of_finished, tools):
    ours, theirs = (f"{RUNS}/{method}/seed0/checkpoint.safetensors" for method in ("at", "twins_at"))
    shutil.move(copy_of_finished / ours, copy_of_finished / "aside")
    shutil.move(copy_of_finished / theirs, copy_of_finished / ours)
    shutil.move(copy_of_finished / "aside", copy_of_finished / theirs)
    first, second = sorted(findings(copy_of_finished, tools))
    assert first.startswith(f"[changed-file] {ours}:")
    assert first.endswith(f"it is the file recorded as {theirs}")
    assert second.startswith(f"[changed-file] {theirs}:")
    assert second.endswith(f"it is the file recorded as {ours}")


@pytest.mark.parametrize("kind", ["md", "csv", "tex", "html"])
def test_an_edited_table_cell_is_named(copy_of_finished, tools, kind):
    table = copy_of_finished / f"results/smoke/twins/tables/main.{kind}"
    row = next(line for line in table.read_text().splitlines() if "TWINS-AT" in line)
    numbers = json.loads((copy_of_finished / "results/smoke/twins/numbers.json").read_text())
    cell = next(c for c in numbers["cells"] if (c["method"], c["attack"]) == ("twins_at", "clean"))
    old = f"{100 * cell['mean']:.1f}"
    edit(table, row, row.replace(old, "99.9", 1))
    (found,) = findings(copy_of_finished, tools)
    assert found.startswith(f"[changed-file] results/smoke/twins/tables/main.{kind}:")
    assert "cell twins/main:twins_at/clean reads '99.9" in found
    assert f"its ledgers give '{old}" in found


def test_an_edited_configuration_is_named_once(copy_of_finished, tools):
    edit(
        copy_of_finished / "config" / "scales" / "smoke.yaml",
        "lr: 0.02, weight_decay: 5.0e-4, milestones",
        "lr: 0.03, weight_decay: 5.0e-4, milestones",
    )
    (found,) = findings(copy_of_finished, tools)
    assert found.startswith("[edited-config] recipe.lr: recorded 0.02, now 0.03 (in train:twins/main/")
    assert found.endswith("and 14 more steps)")


def test_an_edited_pretraining_is_named_once_and_not_for_each_run_that_starts_from_it(copy_of_finished, tools):
    path = copy_of_finished / "config" / "scales" / "smoke.yaml"
    before, after = path.read_text().split("  digits_at:\n", 1)
    path.write_text(before + "  digits_at:\n" + after.replace("lr: 0.05", "lr: 0.06", 1))
    (found,) = findings(copy_of_finished, tools)
    assert found.startswith("[edited-config] recipe.lr: recorded 0.05, now 0.06 (in train:pretraining/digits_at)")


def test_a_missing_record_is_named(copy_of_finished, tools):
    record = f"{RUNS}/trades/seed0/checkpoint.record.json"
    (copy_of_finished / record).unlink()
    (found,) = findings(copy_of_finished, tools)
    assert found.startswith(f"[missing-record] {record}:")


def test_a_missing_output_is_named(copy_of_finished, tools):
    ledger = f"{RUNS}/trades/seed0/robustness.1of1.ledger.parquet"
    (copy_of_finished / ledger).unlink()
    (found,) = findings(copy_of_finished, tools)
    assert found.startswith(f"[missing-file] {ledger}:")


def test_an_edited_record_is_named_by_the_records_that_quote_it(copy_of_finished, tools):
    record = f"{RUNS}/trades/seed0/checkpoint.record.json"
    edit(copy_of_finished / record, '"attempt": 1', '"attempt": 2')
    (found,) = findings(copy_of_finished, tools)
    assert found.startswith(f"[changed-record] {record}:")


def test_an_edited_last_record_is_named_by_the_manifest(copy_of_finished, tools):
    record = "results/smoke/twins/tables/main.record.json"
    edit(copy_of_finished / record, '"attempt": 1', '"attempt": 2')
    (found,) = findings(copy_of_finished, tools)
    assert found.startswith(f"[changed-record] {record}:")


def test_an_edited_specification_in_a_record_is_named(copy_of_finished, tools):
    record = f"{RUNS}/trades/seed0/checkpoint.record.json"
    edit(copy_of_finished / record, '"beta": 6.0', '"beta": 1.0')
    (found,) = findings(copy_of_finished, tools)
    assert found.startswith(f"[invalid-record] {record}:")
    assert "specification does not have the hash" in found


def test_an_edited_source_file_is_named(copy_of_finished, tools):
    edit(copy_of_finished / "pipeline" / "robustft" / "methods" / "trades.py", "self.beta * kl", "2 * self.beta * kl")
    (found,) = findings(copy_of_finished, tools)
    assert found.startswith(
        "[edited-source] pipeline/robustft/methods/trades.py: it is not the file that train:twins/main/"
    )


def test_edited_numbers_are_named(copy_of_finished, tools):
    numbers = "results/smoke/twins/numbers.json"
    edit(copy_of_finished / numbers, '"correct": 0', '"correct": 1')
    (found,) = findings(copy_of_finished, tools)
    assert found.startswith(f"[changed-file] {numbers}:")


def test_numbers_that_a_consistent_forger_changed_are_counted_again(copy_of_finished, tools):
    """Hashes made to agree do not help: the ledgers are counted again."""
    import hashlib

    numbers, record = (copy_of_finished / f"results/smoke/twins/numbers{end}" for end in (".json", ".record.json"))
    old = hashlib.sha256(numbers.read_bytes()).hexdigest()
    edit(numbers, '"correct": 0', '"correct": 1')
    edit(record, old, hashlib.sha256(numbers.read_bytes()).hexdigest())
    found = findings(copy_of_finished, tools)
    assert any(line.startswith("[wrong-number] results/smoke/twins/numbers.json:") for line in found)


@pytest.mark.parametrize("content", ["null\n", "[1,\n"])
def test_numbers_that_a_consistent_forger_emptied_are_a_finding(copy_of_finished, tools, content):
    import hashlib

    numbers, record = (copy_of_finished / f"results/smoke/twins/numbers{end}" for end in (".json", ".record.json"))
    old = hashlib.sha256(numbers.read_bytes()).hexdigest()
    numbers.write_text(content)
    edit(record, old, hashlib.sha256(numbers.read_bytes()).hexdigest())
    found = findings(copy_of_finished, tools)
    assert any("] results/smoke/twins/numbers.json:" in line for line in found)


def test_an_edited_figure_is_named(copy_of_finished, tools):
    figure = "results/smoke/twins/figures/diagnostics.svg"
    edit(copy_of_finished / figure, "</svg>", "<!-- --></svg>")
    (found,) = findings(copy_of_finished, tools)
    assert found.startswith(f"[changed-file] {figure}:")


def test_a_number_in_the_readme_that_no_file_backs_is_named(copy_of_finished, tools):
    readme = copy_of_finished / "README.md"
    readme.write_text((readme.read_text() if readme.exists() else "") + "\nWe reach 99.9 % robust accuracy.\n")
    (found,) = findings(copy_of_finished, tools)
    assert found.startswith("[unbound-readme] 99.9 %:")


def test_an_edited_input_stops_the_step_that_reads_it(copy_of_finished, tools):
    """A result that was edited by hand is not built upon: the consumer says so and writes nothing."""
    ledger = copy_of_finished / RUNS / "at/seed1/robustness.1of1.ledger.parquet"
    flip_byte(ledger, 400)
    numbers = copy_of_finished / "results/smoke/twins/numbers.json"
    before = numbers.read_bytes()
    said = tools["robustft"](copy_of_finished, "numbers", "twins", "--scale", "smoke")
    assert said.returncode == 2
    assert "is not what its step wrote" in said.stderr
    assert "expected:" in said.stderr
    assert "observed:" in said.stderr
    assert "to do:" in said.stderr
    assert numbers.read_bytes() == before
