"""Publishing with the real git and DVC, on a folder of two small results; audit and crate are stood in for."""

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

from robustft.errors import RobustftError
from robustft.export import dvc_store
from robustft.export import publish as publishing
from robustft.files import digest_of, sha256_file, write_json
from robustft.provenance.record import SCHEMA

DVC_FILE = """\
stages:
  toy:
    cmd: "false"
    deps: [pipeline]
    outs:
      - results/data/digits.bin: {persist: true}
      - results/toy: {persist: true}
"""
SOURCE, LOCK = "pipeline/method.py", "envs/run.txt"


@dataclass(frozen=True)
class ToyStep:
    kind: str
    outputs: dict[str, str]
    record: str


PLAN = SimpleNamespace(
    scale="toy",
    steps={
        "data:digits": ToyStep("data", {"data": "results/data/digits.bin"}, "results/toy/digits.record.json"),
        "train:run": ToyStep("train", {"checkpoint": "results/toy/run.bin"}, "results/toy/run.record.json"),
    },
)


def run(*command: str, folder: Path = Path(), check: bool = True) -> str:
    quiet = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    done = subprocess.run(command, cwd=folder, env=quiet, capture_output=True, text=True, check=False)
    assert not (check and done.returncode), f"{command}: {done.stdout}{done.stderr}"
    return done.stdout.strip()


def git(*arguments: str) -> str:
    return run("git", "-c", "user.name=test", "-c", "user.email=test@localhost", *arguments)


def dvc(*arguments: str, folder: Path = Path()) -> str:
    return run(sys.executable, "-m", "dvc", *arguments, folder=folder)


def make_results(*, clean: bool = True) -> None:
    """Make both results, and records of them that name the present commit and sources."""
    environment = {
        "git": {"commit": git("rev-parse", "HEAD"), "clean": clean},
        "lock": {"path": LOCK, "sha256": sha256_file(LOCK)},
        **{"image": None, "packages": {}, "python": "3"},
    }
    source = {SOURCE: sha256_file(SOURCE)}
    for step in PLAN.steps.values():
        for path in step.outputs.values():
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            Path(path).write_text(step.kind)
        record = {
            "schema": SCHEMA,
            "step": {"kind": step.kind, "id": "made", "spec": {}, "spec_sha256": digest_of({})},
            "inputs": {},
            "outputs": {},
            "source": {"files": source, "sha256": digest_of(source)},
            "environment": environment,
            "circumstances": {"vouchers": {}, "seconds": 1, "attempt": 1, "started": "then", "ended": "now"},
        }
        write_json(step.record, record)


@pytest.fixture
def crates(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Which crates were written: their contents are another file's tests."""
    written: list[Path] = []

    def export(plan, target, *, log):
        written.append(target)
        return target

    monkeypatch.setattr(publishing, "export_crate", export)
    return written


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crates: list[Path]) -> Path:
    """A committed checkout with finished results and a remote, with an audit that finds nothing."""
    folder = tmp_path / "a checkout"
    for name, text in {
        "dvc.yaml": DVC_FILE,
        ".gitignore": "/results/\n",
        ".dvcignore": "/results/toy/report.html\n/results/**/.*.tmp\n",
        ".dvc/config": "[core]\n    analytics = false\n    check_update = false\n",
        ".dvc/.gitignore": "/config.local\n/tmp\n/cache\n",
        SOURCE: "weight = 1\n",
        LOCK: "torch==1\n",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    monkeypatch.chdir(folder)
    git("init", "--quiet", "--initial-branch", "main")
    git("add", "--all")
    git("commit", "--quiet", "--message", "a checkout")
    remote_at(tmp_path / "store")
    make_results()
    for module in (publishing, dvc_store):
        monkeypatch.setattr(module, "ROOT", folder)
    monkeypatch.setattr(publishing, "audited", lambda plan, *, unaudited, log: SimpleNamespace(root="f00"))
    return folder


def remote_at(where: Path) -> None:
    Path(".dvc/config.local").write_text(
        f"[core]\n    remote = store\n['remote \"store\"']\n    url = {where}\n", encoding="utf-8"
    )


def stored(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def refused(words: str, *, store: Path) -> str:
    """Publish, which must be refused with these words and with nothing stored or sent."""
    with pytest.raises(RobustftError, match=words) as error:
        publishing.publish(PLAN, log=lambda line: None)
    assert stored(store) == []
    assert not Path("dvc.lock").exists()
    return str(error.value)


def test_published_results_are_whole_in_a_clone(checkout, crates, tmp_path):
    said: list[str] = []
    publishing.publish(PLAN, log=said.append)
    assert crates == [Path("exports/toy/crate")]
    assert said[-1].startswith("left to you: git add dvc.lock && git commit")
    git("add", "dvc.lock")
    git("commit", "--quiet", "--message", "results")
    git("clone", "--quiet", str(checkout), str(tmp_path / "clone"))
    shutil.copy(".dvc/config.local", tmp_path / "clone" / ".dvc" / "config.local")
    dvc("pull", folder=tmp_path / "clone")
    for path in ("results/data/digits.bin", "results/toy/run.bin", "results/toy/run.record.json"):
        assert (tmp_path / "clone" / path).read_bytes() == Path(path).read_bytes()
    said.clear()
    publishing.publish(PLAN, log=said.append)
    assert said[-1].startswith("published: root f00"), "once dvc.lock is committed nothing is left to the user"


@pytest.mark.parametrize("path", [SOURCE, "pipeline/new.py", ".gitignore"])
def test_an_edited_tree_is_not_published(checkout, tmp_path, path):
    """A new file beside the sources counts: a step may have imported it, and no clone would have it."""
    with Path(path).open("a") as stream:
        stream.write("# an edit\n")
    assert path in refused("a tree that is not clean", store=tmp_path / "store")


def test_notes_beside_the_sources_do_not_count(checkout):
    Path("notes.txt").write_text("thoughts")
    publishing.publish(PLAN, log=lambda line: None)


def test_a_failed_audit_is_not_published(checkout, tmp_path, monkeypatch):
    def fails(plan, *, unaudited, log):
        assert not unaudited
        raise RobustftError("the audit of scale toy failed")

    monkeypatch.setattr(publishing, "audited", fails)
    refused("the audit of scale toy failed", store=tmp_path / "store")


def test_results_of_an_edited_tree_are_not_published_when_it_is_clean_again(checkout, tmp_path):
    make_results(clean=False)
    refused("a step ran from edited files", store=tmp_path / "store")


def test_results_of_a_commit_that_was_amended_away_are_not_published(checkout, tmp_path):
    """git keeps such a commit for a while, so asking only whether it is known would let it pass."""
    git("commit", "--quiet", "--amend", "--message", "other words")
    refused("a commit that is on no branch or tag", store=tmp_path / "store")


def test_results_of_an_earlier_commit_are_published(checkout):
    Path("README.md").write_text("words")
    git("add", "--all")
    git("commit", "--quiet", "--message", "words")
    publishing.publish(PLAN, log=lambda line: None)


def test_results_of_files_that_their_commit_does_not_hold_are_not_published(checkout, tmp_path):
    """A record may say `clean` and still name a source file that git was never given."""
    Path(SOURCE).write_text("weight = 2\n")
    make_results()
    git("checkout", "--quiet", SOURCE)
    refused(f"another {SOURCE} than its commit holds", store=tmp_path / "store")


def test_what_the_audit_does_not_know_is_not_published(checkout, tmp_path):
    Path("results/toy/report.html").write_text("DVC ignores this one")
    Path("results/data/imagenet.bin").write_text("of another scale: not an output of the stage")
    Path("results/toy/other_paper.bin").write_text("of a paper that was not audited")
    told = refused("1 files among the results are of no step", store=tmp_path / "store")
    assert "results/toy/other_paper.bin" in told
    Path("results/toy/other_paper.bin").unlink()
    publishing.publish(PLAN, log=lambda line: None)
    contents = {path.read_bytes() for path in stored(tmp_path / "store")}
    assert b"train" in contents
    assert not {text for text in contents if b"another scale" in text or b"ignores" in text}


def test_without_a_remote_it_says_how_to_set_one(checkout, tmp_path):
    Path(".dvc/config.local").unlink()
    assert "dvc remote add --local --default" in refused("no default remote", store=tmp_path / "store")


def test_a_scale_without_a_stage_and_another_folder_are_told(checkout, tmp_path, monkeypatch):
    with pytest.raises(RobustftError, match=r"no stage of dvc\.yaml has the results of scale 'paper'"):
        publishing.publish(SimpleNamespace(scale="paper", steps={}), log=lambda line: None)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RobustftError, match="published from the checkout that made them"):
        publishing.publish(PLAN, log=lambda line: None)


def test_a_remote_that_cannot_be_written_loses_nothing_and_the_same_command_goes_on(checkout, crates, tmp_path, capfd):
    before = {path: path.read_bytes() for path in stored(Path("results"))}
    (tmp_path / "store").write_text("a file where the remote's folder should be")
    with pytest.raises(RobustftError, match="dvc push failed") as error:
        publishing.publish(PLAN, log=lambda line: None)
    assert "check that the remote can be reached" in str(error.value)
    assert "ERROR" in capfd.readouterr().err, "DVC's own words are shown"
    assert crates == [], "nothing says that it was published"
    assert {path: path.read_bytes() for path in stored(Path("results"))} == before
    (tmp_path / "store").unlink()
    publishing.publish(PLAN, log=lambda line: None)
    assert crates
    assert stored(tmp_path / "store")


PUBLISH = """
import sys
from pathlib import Path
from tests.export.test_publish import PLAN, SimpleNamespace, dvc_store, publishing
publishing.ROOT = dvc_store.ROOT = Path.cwd()
publishing.audited = lambda plan, *, unaudited, log: SimpleNamespace(root="f00")
publishing.export_crate = lambda plan, target, *, log: target
many = {str(p): p for p in sorted(Path("results/toy").glob("part*"))}
PLAN.steps["train:run"].outputs.update({name: name for name in many})
publishing.publish(PLAN)
"""


KILLED_PUSH = """
import os
import dvc_data.index.collect as module
collect = module._collect_from_index
def killed(cache, *arguments, **options):
    collect(cache, *arguments, **options)
    cache.commit()
    os._exit(9)
module._collect_from_index = killed
from dvc.cli import main
main(["push", "toy"])
"""


def test_a_push_killed_while_it_collects_does_not_make_the_next_one_leave_files_out(checkout, tmp_path):
    """DVC 3.67 takes up the list of the killed one as if it were whole: it sent the rest, and said that it was all."""
    dvc("commit", "--force", "toy")
    killed = subprocess.run([sys.executable, "-c", KILLED_PUSH], capture_output=True, check=False)
    assert killed.returncode == 9, killed.stderr
    publishing.publish(PLAN, log=lambda line: None)
    there = {path.parent.name + path.name for path in stored(tmp_path / "store")}
    for path in (path for step in PLAN.steps.values() for path in (*step.outputs.values(), step.record)):
        assert hashlib.md5(Path(path).read_bytes()).hexdigest() in there, path


@pytest.mark.hpc
def test_publishing_that_is_killed_at_any_moment_goes_on(checkout, tmp_path):
    """Killed with all its children at random moments; then the same command ends well and a clone has every byte."""
    generator = random.Random(5)
    for number in range(200):
        Path(f"results/toy/part{number}.bin").write_bytes(generator.randbytes(200_000))
    command = [sys.executable, "-c", PUBLISH]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "pipeline")}
    started = time.monotonic()
    subprocess.run(command, env=environment, capture_output=True, check=True)
    whole = time.monotonic() - started
    killed = attempts = too_late = 0
    while killed < 12:
        attempts += 1
        assert attempts <= 100, "it ended before it was killed, again and again"
        Path(f"results/toy/part{1000 + attempts}.bin").write_bytes(
            generator.randbytes(200_000)
        )  # so there is always work
        process = subprocess.Popen(
            command,
            env=environment,
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            process.wait(timeout=generator.uniform(0.3, whole) / 2**too_late)
            too_late += 1
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            killed, too_late = killed + 1, 0
            process.wait()
    print(f"{killed} of {attempts} attempts killed, in {time.monotonic() - started:.0f} s")  # noqa: T201
    Path("results/toy/.dDefetnYgRvzO1sQhl0g7Q.tmp").touch()  # what a kill leaves when DVC tries a link
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    git("add", "dvc.lock")
    git("commit", "--quiet", "--message", "results")
    git("clone", "--quiet", str(checkout), str(tmp_path / "clone"))
    shutil.copy(".dvc/config.local", tmp_path / "clone" / ".dvc" / "config.local")
    dvc("pull", folder=tmp_path / "clone")
    there, here = (
        {str(p.relative_to(folder)): sha256_file(p) for p in stored(folder / "results") if p.suffix != ".tmp"}
        for folder in (tmp_path / "clone", checkout)
    )
    assert there == here
