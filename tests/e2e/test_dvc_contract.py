"""Snakemake and DVC in one repository, by the real programs: what is stored comes back and is not made again."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from robustft.config.load import Config
from robustft.plan import Plan

from .test_dag import bundles, outputs

FIGURE = "results/smoke/twins/figures/diagnostics.svg"
PLOTTED = "results/smoke/twins/main/digits_5to9/twins_at/seed0/history.csv"


class Checkout:
    """A clone with its own results, in which programs run as a user runs them."""

    def __init__(self, folder: Path, remote: Path) -> None:
        self.folder = folder
        (folder / ".venv").symlink_to(sys.prefix)
        self.dvc("remote", "add", "--local", "--default", "store", str(remote))

    def run(self, *command: str, expect: int = 0) -> str:
        environment = {**os.environ, "PYTHONPATH": str(self.folder / "pipeline"), "GIT_CONFIG_GLOBAL": os.devnull}
        done = subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=900, check=False
        )
        said = done.stdout + done.stderr
        assert done.returncode == expect, f"{' '.join(command)} ended with {done.returncode}:\n{said[-4000:]}"
        return said

    def dvc(self, *arguments: str, expect: int = 0) -> str:
        return self.run(sys.executable, "-m", "dvc", *arguments, expect=expect)

    def git(self, *arguments: str) -> str:
        return self.run("git", "-c", "user.name=test", "-c", "user.email=test@localhost", *arguments)

    def robustft(self, *arguments: str, expect: int = 0) -> str:
        return self.run(sys.executable, "-m", "robustft", *arguments, "--scale", "smoke", expect=expect)

    def planned(self) -> str:
        return self.run(sys.executable, "-m", "snakemake", "--cores", "2", "--config", "scale=smoke", "--dry-run")


def started(said: str) -> set[str]:
    """Return the kinds of steps that really ran."""
    return set(re.findall(r"\] (\w+):\S+ starts", said))


def files_of_plan(scale: str, *papers: str) -> set[str]:
    """Return every output and record of a scale's plan."""
    steps = Plan(Config(scale=scale, papers=list(papers) or None)).steps.values()
    return {path for step in steps for path in (*step.outputs.values(), step.record)}


def at_smoke(dvc_file: Path) -> None:
    """Let the stage be of scale smoke and of TWINS, by its own words."""
    text = re.sub(r"\bdemo\b", "smoke", dvc_file.read_text())
    values = yaml.safe_load(text)
    stage = values["stages"]["smoke"]
    made = files_of_plan("smoke", "twins") | {"results/smoke"}
    stage["outs"] = [out for out in stage["outs"] if made & out.keys()]
    values["metrics"] = [path for path in values["metrics"] if "/twins/" in path]
    values["plots"] = [plot for plot in values["plots"] if "/twins/" in str(plot)]
    dvc_file.write_text(yaml.safe_dump(values, sort_keys=False))


@pytest.mark.hpc
def test_the_contract_of_snakemake_and_dvc(tools, tmp_path):
    origin = tools["copy_checkout"](tmp_path / "here")
    for name in ("dvc.yaml", ".dvcignore", ".gitignore", ".dvc", "CITATION.cff", "LICENSE"):
        source = Path(__file__).parents[2] / name
        (shutil.copytree if source.is_dir() else shutil.copy2)(source, origin / name)
    for left in (".dvc/config.local", ".dvc/tmp", ".dvc/cache"):
        path = origin / left
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    at_smoke(origin / "dvc.yaml")
    subprocess.run(["git", "init", "--quiet", "--initial-branch", "main", str(origin)], check=True)
    with (origin / ".git" / "info" / "exclude").open("a") as stream:
        stream.write(".venv\n")
    here = Checkout(origin, tmp_path / "store")
    here.git("add", "--all")
    here.git("commit", "--quiet", "--message", "a checkout")

    # Run through DVC; then both say that nothing is to be done.
    assert "train" in started(here.dvc("repro"))
    assert "Nothing to be done" in here.planned()
    assert "didn't change, skipping" in here.dvc("repro")
    assert "up to date" in here.dvc("status")

    # Published: audited, stored, sent, with a crate.
    said = here.robustft("publish")
    assert "audit passed" in said
    assert "left to you: git add dvc.lock" in said
    assert (origin / "exports" / "smoke" / "crate" / "ro-crate-metadata.json").is_file()
    here.git("add", "dvc.lock")
    here.git("commit", "--quiet", "--message", "results")
    assert "left to you" not in here.robustft("publish"), "a second time there is nothing left to send or commit"

    # A clone elsewhere, with a space in its path.
    subprocess.run(["git", "clone", "--quiet", str(origin), str(tmp_path / "some where")], check=True)
    with (tmp_path / "some where" / ".git" / "info" / "exclude").open("a") as stream:
        stream.write(".venv\n")
    there = Checkout(tmp_path / "some where", tmp_path / "store")
    there.dvc("pull")
    assert outputs(there.folder) == outputs(origin)
    assert "PASS: every number follows" in there.robustft("audit")
    assert "didn't change, skipping" in there.dvc("repro")
    assert "known to Snakemake" in there.robustft("adopt")
    assert "Nothing to be done" in there.planned()
    assert "didn't change, skipping" in there.dvc("repro"), "adopting changes times only"

    # In a fresh memory of Snakemake's, one deleted figure is drawn again and nothing else is.
    shutil.rmtree(there.folder / ".snakemake")
    before = (there.folder / FIGURE).read_bytes()
    (there.folder / FIGURE).unlink()
    said = there.dvc("repro")
    assert started(said) == {"figure", "manifest"}
    assert (there.folder / FIGURE).read_bytes() == before
    assert "up to date" in there.dvc("status")
    assert "Nothing to be done" in there.planned()

    # DVC's views.
    assert "autoattack" in there.dvc("metrics", "show")
    there.dvc("plots", "show", "--out", "plots")
    page = (there.folder / "plots" / "index.html").read_text()
    assert "robust_test" in page
    assert list((there.folder / "plots" / "static").glob("*diagnostics.svg"))

    # An edit of one method's setting: adopted results know their own source and configuration.
    methods = there.folder / "config" / "methods.yaml"
    methods.write_text(methods.read_text().replace("{beta: 6.0, attack_loss: kl}", "{beta: 1.0, attack_loss: kl}"))
    assert bundles(there.planned()) == {"trades"}
    assert "nothing is published from a tree that is not clean" in there.robustft("publish", expect=2)
    there.git("commit", "--quiet", "--all", "--message", "another beta")
    assert set(re.findall(r"\] train:twins/main/digits_5to9/(\w+)/", there.dvc("repro"))) == {"trades"}
    difference = there.dvc("metrics", "diff")
    assert "main.digits_5to9.trades." in difference
    assert "main.digits_5to9.at." not in difference
    there.dvc("plots", "diff", "--out", "difference")
    shown = {path.name.split("_", 1)[0] for path in (there.folder / "difference" / "static").glob("*diagnostics.svg")}
    assert shown == {"HEAD", "workspace"}

    # One byte of a measurement: found, and not published.
    ledger = next((there.folder / "results" / "smoke" / "twins").glob("main/*/at/seed0/*.ledger.parquet"))
    data = bytearray(ledger.read_bytes())
    data[100] ^= 1
    ledger.unlink()  # it may be a link into DVC's store
    ledger.write_bytes(bytes(data))
    assert "[changed-file]" in there.robustft("audit", expect=1)
    assert "the audit of scale smoke failed" in there.robustft("publish", expect=2)


def test_results_from_elsewhere_are_adopted_if_they_verify(copy_of_finished, tools):
    """As after `dvc pull`: no memory of Snakemake's, files in an arbitrary order of time."""
    shutil.rmtree(copy_of_finished / ".snakemake")
    files = sorted((copy_of_finished / "results").rglob("*.*"))
    for number, path in enumerate(files[::-1]):
        os.utime(path, (1_700_000_000 + number, 1_700_000_000 + number))
    assert "Nothing to be done" not in tools["snakemake"](copy_of_finished, "--dry-run")
    changed = copy_of_finished / "results/smoke/twins/tables/main.md"
    changed.write_text(changed.read_text() + "edited\n")
    done = tools["robustft"](copy_of_finished, "adopt", "--scale", "smoke")
    assert done.returncode == 0, done.stderr
    assert (
        "not adopted: table:twins/main: results/smoke/twins/tables/main.md is not what its record says" in done.stderr
    )
    method = copy_of_finished / "pipeline" / "robustft" / "methods" / "trades.py"
    method.write_text(method.read_text() + "\n# an edit\n")
    plan = tools["snakemake"](copy_of_finished, "--dry-run")
    assert bundles(plan) == {"trades"}, "an edit is noticed in results that Snakemake did not make"
    assert "writing the table twins/main" in plan
    assert "pre-training" not in plan


def test_nothing_is_published_from_a_folder_that_git_does_not_know(copy_of_finished, tools):
    done = tools["robustft"](copy_of_finished, "publish", "--scale", "smoke")
    assert done.returncode == 2
    assert "nothing is published from a folder of which git has no commit" in done.stderr


def test_dvc_shows_and_keeps_files_of_the_plan_and_all_of_them():
    """Data of another scale lie in the same folder; what DVC does not name, it does not send."""
    values = yaml.safe_load((Path(__file__).parents[2] / "dvc.yaml").read_text())
    made = files_of_plan("demo")
    curves = [path for plot in values["plots"] if isinstance(plot, dict) for p in plot.values() for path in p["y"]]
    images = [plot for plot in values["plots"] if isinstance(plot, str)]
    assert curves
    assert [path for path in (*values["metrics"], *images, *curves) if path not in made] == []
    assert set(images) == {path for path in made if re.search(r"/figures/\w+\.svg$", path)}
    assert set(values["metrics"]) == {path for path in made if path.endswith("/metrics.json")}
    outs = {path: out[path] for out in values["stages"]["demo"]["outs"] for path in out}
    assert all(out == {"persist": True} for out in outs.values()), "DVC must not delete what Snakemake may keep"
    assert outs.keys() - {"results/demo"} == {path for path in made if not path.startswith("results/demo/")}
