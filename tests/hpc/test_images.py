"""Both images for real: built with buildah, run by Apptainer, and every measurement equals the one made outside.

Needs buildah with a base image (ROBUSTFT_TEST_BASE, default localhost/testbed-base: a Debian or Ubuntu with apt) and
Apptainer. The images are kept in ROBUSTFT_TEST_IMAGES (default ~/.cache/robustft/test-images) and built again when a
recipe or lock has changed: some minutes for the report's, a quarter of an hour for the other.
"""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
BASE = os.environ.get("ROBUSTFT_TEST_BASE", "localhost/testbed-base")
KEPT = Path(os.environ.get("ROBUSTFT_TEST_IMAGES", Path.home() / ".cache" / "robustft" / "test-images"))
AUDIT = ("python", "-m", "robustft", "audit", "--scale", "smoke")
REPORT_KINDS = {"numbers", "verdicts", "table", "deviations", "figure", "manifest"}
RECORDS = "*.record.json"

pytestmark = pytest.mark.hpc

_spec = importlib.util.spec_from_file_location("e2e_tools", ROOT / "tests" / "e2e" / "conftest.py")
e2e = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(e2e)

# A root without all capabilities, of a small virtual machine, say, may not keep them in a container.
os.environ.setdefault("APPTAINER_NO_PRIVS", "1")
os.environ.setdefault("STORAGE_DRIVER", "vfs")
os.environ.setdefault("BUILDAH_ISOLATION", "chroot")


@pytest.fixture(scope="module")
def sifs() -> dict[str, Path]:
    """The SIF of each role, built on the test's base."""
    for program in ("buildah", "apptainer"):
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}")
    if subprocess.run(["buildah", "inspect", "--type", "image", BASE], capture_output=True, check=False).returncode:
        pytest.skip(f"needs the base image {BASE} in buildah's store (ROBUSTFT_TEST_BASE names another)")
    options = ["--builder", "buildah", "--base", BASE, "--compression", "lz4", "--folder", str(KEPT)]
    subprocess.run([sys.executable, "-m", "robustft", "images", *options], cwd=ROOT, check=True, timeout=3600)
    return {role: KEPT / f"robustft-{role}.sif" for role in ("train", "report")}


def inside(
    sif: Path, folder: Path, *command: str, binds: tuple[str, ...] = (), options: tuple[str, ...] = ("--cleanenv",)
) -> subprocess.CompletedProcess[str]:
    """Run a command in an image as Snakemake does: this folder is home and working directory."""
    bound = [part for bind in binds for part in ("--bind", bind)]
    return subprocess.run(
        ["apptainer", "exec", *options, "--home", str(folder), *bound, str(sif), *command],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=600,
    )


@pytest.fixture(scope="module")
def runs(sifs, tmp_path_factory) -> tuple[Path, Path]:
    """TWINS at scale smoke, run outside and run in the images."""
    outside, within = (tmp_path_factory.mktemp(name) / "checkout" for name in ("outside", "within"))
    for folder in (outside, within):
        e2e.copy_checkout(folder)
    for role, sif in sifs.items():
        (within / "docker" / role / sif.name).unlink(missing_ok=True)
        (within / "docker" / role / sif.name).symlink_to(sif)
    e2e.snakemake(outside)
    e2e.snakemake(within, "--use-singularity")
    return outside, within


def records(folder: Path) -> dict[str, dict]:
    return {str(p.relative_to(folder)): json.loads(p.read_text()) for p in sorted(folder.glob(f"results/**/{RECORDS}"))}


def audit(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return e2e.robustft(folder, "audit", "--scale", "smoke", *options)


def test_every_measurement_table_and_figure_equals_the_run_outside(runs):
    outside, within = runs
    names = [
        {str(p.relative_to(folder)) for p in folder.glob("results/**/*") if p.is_file() and not p.match(RECORDS)}
        for folder in runs
    ]
    assert names[0] == names[1]
    compared = sorted(name for name in names[0] if Path(name).name != "manifest.json")  # it is the hash of the records
    other = [name for name in compared if (outside / name).read_bytes() != (within / name).read_bytes()]
    kinds = sorted({"".join(Path(name).suffixes[-2:]) for name in compared})
    print(f"compared {len(compared)} files ({', '.join(kinds)}), {len(other)} differ")  # noqa: T201
    assert len(compared) > 30
    assert not other


def test_each_record_names_the_image_of_its_role(runs):
    found = records(runs[1])
    for name, record in found.items():
        role = "report" if record["step"]["kind"] in REPORT_KINDS else "train"
        image = record["environment"]["image"]
        assert (image["name"], image["role"], image["base"]) == (f"robustft-{role}", role, BASE), name
        assert image["own_python"], name
        assert image["built_with"].startswith("buildah"), name
    print(f"{len(found)} records name their image")  # noqa: T201


def test_the_audit_tells_which_base_it_was(runs):
    told = audit(runs[1])
    assert told.returncode == 0, told.stdout
    assert f"ran in the image robustft-train with another base ({BASE}, here nvidia/cuda:" in told.stdout
    assert "outside every image" not in told.stdout
    required = audit(runs[1], "--require-images")
    assert required.returncode == 1
    assert required.stdout.count("broken: [wrong-image]") == 2


@pytest.fixture
def as_built(runs, tmp_path) -> Path:
    """The run in the images in a checkout that names the test's base."""
    folder = tmp_path / "checkout"
    shutil.copytree(runs[1], folder, symlinks=True)
    settings = folder / "config" / "images.yaml"
    values = yaml.safe_load(settings.read_text())
    for about in values["images"].values():
        about["base"] = BASE
    # The pattern of `base` asks for a digest, which a local image has none of.
    described = folder / "pipeline" / "robustft" / "config" / "images.py"
    described.write_text(described.read_text().replace("@sha256:[0-9a-f]{64}$", "."))
    settings.write_text(yaml.safe_dump(values))
    return folder


def test_a_run_in_the_images_of_its_checkout_holds_when_images_are_required(as_built):
    told = audit(as_built, "--require-images")
    assert told.returncode == 0, told.stdout
    assert "steps ran in" not in told.stdout


def test_an_image_of_another_lock_is_named(as_built):
    with open(as_built / "envs" / "report.txt", "a") as stream:
        stream.write("# another day\n")
    told = audit(as_built)
    assert told.returncode == 0, told.stdout
    assert "ran in the image robustft-report with another lock (" in told.stdout
    assert "robustft-train with" not in told.stdout


def test_the_run_outside_fails_where_images_are_required(runs):
    told = audit(runs[0], "--require-images")
    assert told.returncode == 1
    assert "[wrong-image]" in told.stdout


def test_audit_and_explain_run_in_the_report_image(runs, sifs):
    here, there = (
        audit(runs[1]),
        inside(sifs["report"], runs[1], *AUDIT),
    )
    assert there.returncode == 0, there.stdout + there.stderr
    root = [line for line in here.stdout.splitlines() if line.startswith("root:")]
    assert root
    assert root == [line for line in there.stdout.splitlines() if line.startswith("root:")]
    words = ["python", "-m", "robustft", "explain", "twins/main:twins_at/clean", "--scale", "smoke"]
    explained = inside(sifs["report"], runs[1], *words)
    assert explained.returncode == 0, explained.stdout + explained.stderr
    assert "robustft-train" in explained.stdout


def test_an_image_holds_its_lock_and_nothing_else(sifs):
    code = "import importlib.metadata as m; print('\\n'.join(f'{d.name}=={d.version}' for d in m.distributions()))"
    from robustft.provenance.environment import locked_versions

    for role, lock in (("train", "envs/run.txt"), ("report", "envs/report.txt")):
        locked = locked_versions(ROOT / lock)
        said = inside(sifs[role], ROOT, "/opt/robustft/bin/python", "-I", "-c", code).stdout.split()
        held = {
            name.lower().replace("_", "-").replace(".", "-"): version for name, version in (x.split("==") for x in said)
        }
        wrong = {k: v for k, v in held.items() if v not in locked.get(k, ())}
        print(f"{role}: {len(held)} packages, {len(wrong)} not of {lock}")  # noqa: T201
        assert len(held) > 20
        assert not wrong


@pytest.mark.parametrize("options", [("--cleanenv",), ()])
def test_an_image_keeps_no_settings_of_the_machine_that_built_it_or_calls_it(sifs, monkeypatch, options):
    """The caller's LANG won over the recipe's ENV where nobody had said --cleanenv."""
    monkeypatch.setenv("LANG", "de_DE.UTF-8")
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    for sif in sifs.values():
        said = inside(sif, ROOT, "bash", "-c", "cat /etc/pip.conf; locale", options=options)
        assert "index" not in said.stdout
        assert "LANG=C.UTF-8" in said.stdout
        assert "LC_ALL=C.UTF-8" in said.stdout


def test_a_container_without_our_identity_is_recorded_as_foreign(sifs, tmp_path):
    """The same image with its identity hidden is any image of somebody else's."""
    (tmp_path / "none").touch()
    code = "from robustft.provenance.container import observed_image; print(observed_image())"
    said = inside(sifs["report"], ROOT, "python", "-c", code, binds=(f"{tmp_path}/none:/etc/robustft-image.json",))
    assert said.stdout.strip() == "{'name': None, 'container': 'apptainer: robustft-report.sif'}", said.stderr
