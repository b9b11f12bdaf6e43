"""The complete DAG at the smallest scale: it runs, it repeats, it knows when there is nothing to do."""

import hashlib
import json
import re
import shutil
from pathlib import Path

VOLATILE = (".record.json", "manifest.json")


def outputs(folder: Path) -> dict[str, str]:
    """Return the hash of every result file except records (time, host) and the manifest over them."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted((folder / "results").rglob("*"))
        if path.is_file() and not path.name.endswith(VOLATILE)
    }


def bundles(plan: str) -> set[str]:
    """Return the methods whose training and attacks a dry run lists."""
    return set(re.findall(r"twins: training and attacking (\w+)", plan))


def test_every_planned_output_exists_and_the_audit_passes(finished, tools):
    audit = tools["robustft"](finished, "audit", "--scale", "smoke")
    assert audit.returncode == 0, audit.stdout + audit.stderr
    assert "PASS: every number follows from the recorded ledgers, and every file is as recorded" in audit.stdout
    assert [path.name for path in (finished / "scratch").iterdir()] == ["jobs"], "a finished step keeps no resume state"


def test_second_run_has_nothing_to_do(finished, tools):
    assert "Nothing to be done" in tools["snakemake"](finished, "--dry-run")


def test_a_run_in_another_folder_gives_the_same_bytes(finished, tools, tmp_path):
    # A name with a space and a letter outside ASCII: paths are data, not shell text.
    other = tools["copy_checkout"](tmp_path / "another place é")
    tools["snakemake"](other)
    ours, theirs = outputs(finished), outputs(other)
    assert ours.keys() == theirs.keys()
    assert [path for path in ours if ours[path] != theirs[path]] == []
    stable = ("schema", "step", "outputs", "source")
    for path in sorted((finished / "results").rglob("*.record.json")):
        here = json.loads(path.read_text())
        there = json.loads((other / path.relative_to(finished)).read_text())
        if here["step"]["kind"] != "manifest":
            assert {part: here[part] for part in stable} == {part: there[part] for part in stable}, path


def test_an_edit_in_one_method_file_reruns_only_that_methods_jobs(copy_of_finished, tools):
    method = copy_of_finished / "pipeline" / "robustft" / "methods" / "twins.py"
    method.write_text(method.read_text() + "\n# an edit\n")
    plan = tools["snakemake"](copy_of_finished, "--dry-run")
    assert bundles(plan) == {"twins_at", "twins_trades_released"}
    assert "pre-training" not in plan
    assert "decoding" not in plan


def test_an_edit_of_one_hyper_parameter_reruns_only_the_methods_that_have_it(copy_of_finished, tools):
    config = copy_of_finished / "config" / "methods.yaml"
    trades = "beta: 6.0\n      attack_loss: kl"
    config.write_text(config.read_text().replace(trades, trades.replace("6.0", "5.0")))
    plan = tools["snakemake"](copy_of_finished, "--dry-run")
    assert bundles(plan) == {"trades"}


def test_a_new_method_in_a_papers_file_reruns_no_training(copy_of_finished, tools):
    """A sixth method is one class and one entry; what exists stays as it is (its tables are written again)."""
    config = copy_of_finished / "config" / "papers" / "twins" / "methods.yaml"
    config.write_text(
        config.read_text().replace(
            "methods:\n",
            "methods:\n  at_tripled: {extends: at, title: 'AT x 3', parameters: {weight: 3.0}, color: '#123456'}\n",
            1,
        )
    )
    plan = tools["snakemake"](copy_of_finished, "--dry-run")
    assert bundles(plan) == set()


def test_without_bundles_each_step_is_a_job_of_its_own(tools, tmp_path):
    folder = tools["copy_checkout"](tmp_path / "apart")
    scale = folder / "config" / "scales" / "smoke.yaml"
    assert "bundle: 1\n" in scale.read_text()
    scale.write_text(scale.read_text().replace("bundle: 1\n", "bundle: 0\n"))
    plan = tools["snakemake"](folder, "--dry-run")
    runs = len(re.findall(r"fine-tuning \w+ on digits_5to9, seed \d", plan))
    assert runs == len(re.findall(r"attacking \w+, seed \d: robustness", plan)) == 15
    assert bundles(plan) == set()


def test_a_deleted_figure_is_drawn_again_and_nothing_else(copy_of_finished, tools):
    figure = copy_of_finished / "results" / "smoke" / "twins" / "figures" / "diagnostics.svg"
    before = figure.read_bytes()
    figure.unlink()
    said = tools["snakemake"](copy_of_finished)
    assert figure.read_bytes() == before
    assert set(re.findall(r"\] (\w+):\S+ starts", said)) == {"figure", "manifest"}


def test_a_deleted_checkpoint_is_made_again_although_its_ledgers_are_there(copy_of_finished, tools):
    """Snakemake once said that nothing is to be done, and the audit that the file is missing."""
    (copy_of_finished / "results/smoke/twins/main/digits_5to9/trades/seed0/checkpoint.safetensors").unlink()
    assert bundles(tools["snakemake"](copy_of_finished, "--dry-run")) == {"trades"}


def test_the_html_report_holds_table_and_figure(copy_of_finished, tools):
    report = copy_of_finished / "report.html"
    said = tools["snakemake"](copy_of_finished, "--report", str(report))
    assert "(ERROR" not in said, "a caption holds markup that its format does not know"
    text = report.read_text(encoding="utf-8")
    assert "main.html" in text
    assert "diagnostics.svg" in text


def test_explain_tells_one_numbers_chain(finished, tools):
    told = tools["robustft"](finished, "explain", "twins/main:twins_at/autoattack", "--scale", "smoke")
    assert told.returncode == 0, told.stderr
    for fact in (
        "TWINS-AT under AutoAttack on digits_5to9",
        ", verified.",
        "robustft.methods.twins:TwinsAT",
        "Initial weights: pretraining/digits_at",
        "digits.csv.gz",
        "not a reproduction",
        "Claim: TWINS-AT is more robust than AT",
    ):
        assert fact in " ".join(told.stdout.split()), fact
    wrong = tools["robustft"](finished, "explain", "twins/main:twin_at/autoattack", "--scale", "smoke")
    assert wrong.returncode == 2
    assert "did you mean 'twins_at'?" in wrong.stderr


def test_an_edit_of_the_configuration_does_not_reach_a_job_that_is_planned(copy_of_finished, tools):
    """Its specification stands in its job file, which a dry run does not touch."""
    files = list((copy_of_finished / "scratch" / "jobs" / "smoke").iterdir())
    (job,) = [file for file in files if '"kind":"numbers"' in file.read_text()]
    for name in ("config.yaml", "scales/smoke.yaml"):
        (copy_of_finished / "config" / name).write_text("no configuration at all: [")
    done = tools["robustft"](copy_of_finished, "job", str(job.relative_to(copy_of_finished)))
    assert done.returncode == 0, done.stderr
    assert "numbers:twins done" in done.stderr


def test_a_change_of_settings_alone_reruns_nothing_and_a_dry_run_writes_no_job_file(copy_of_finished, tools):
    scale = copy_of_finished / "config" / "scales" / "smoke.yaml"
    text = re.sub(r"^save_every_steps: \d+", "save_every_steps: 7", scale.read_text(), flags=re.MULTILINE)
    assert text != scale.read_text()
    scale.write_text(text)
    shutil.rmtree(copy_of_finished / "scratch")
    assert "Nothing to be done" in tools["snakemake"](copy_of_finished, "--dry-run")
    assert not (copy_of_finished / "scratch").exists()


def test_a_damaged_job_file_is_written_anew_before_any_job_starts(copy_of_finished, tools):
    for file in (copy_of_finished / "scratch" / "jobs" / "smoke").iterdir():
        file.write_text("damaged")
    table = copy_of_finished / "results" / "smoke" / "twins" / "tables" / "main.md"
    before = table.read_bytes()
    table.unlink()
    tools["snakemake"](copy_of_finished, "--cores", "1", "--", str(table.relative_to(copy_of_finished)))
    assert table.read_bytes() == before
