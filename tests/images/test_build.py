"""A build with stand-ins on the PATH; tests/hpc uses real programs."""

import json
from pathlib import Path

import pytest
import yaml

from robustft.errors import RobustftError
from robustft.files import ROOT
from robustft.images import build, builders
from robustft.provenance.container import expected_image

ROLES = yaml.safe_load((ROOT / "config" / "images.yaml").read_text(encoding="utf-8"))["images"]

BUILDAH = """
echo "buildah $@" >>{log}
case "$1" in
    --version) echo buildah version 1 ;;
    inspect) exit 1 ;;
    push) for last; do :; done; : >"${{last#oci-archive:}}" ;;
esac
"""
APPTAINER = """
echo "apptainer $@" >>{log}
case "$1" in
    --version) echo apptainer version 1 ;;
    build) printf made >"$2" ;;
    exec) case "$*" in *robustft-image.json) cat {identity} ;; esac ;;
esac
"""


@pytest.fixture
def stand_ins(program, tmp_path):
    """Put builders on the PATH that note what they are asked; return the note and the file of the identity inside."""
    log, identity = tmp_path / "log", tmp_path / "identity.json"
    log.touch()
    program("buildah", BUILDAH.format(log=log))
    program("apptainer", APPTAINER.format(log=log, identity=identity))
    expected = expected_image("report", {**ROLES["report"], "base": "localhost/base"})
    identity.write_text(json.dumps({**expected, "built_with": "buildah version 1"}))
    return log, identity


def built(tmp_path: Path, **settings: object) -> tuple[Path | None, list[str]]:
    lines: list[str] = []
    chosen = build.Settings(program="buildah", base="localhost/base", folder=tmp_path / "sif", **settings)
    return build.build_image("report", ROLES["report"], chosen, lines.append), lines


def test_a_finished_image_is_checked_put_into_place_and_not_built_twice(stand_ins, tmp_path):
    log, _ = stand_ins
    target, lines = built(tmp_path)
    assert target.read_text() == "made"
    assert "checked inside: robustft-report" in "\n".join(lines)
    assert [path.name for path in target.parent.iterdir()] == ["robustft-report.sif"]
    before = log.read_text().count("buildah build")
    again, lines = built(tmp_path)
    assert again == target
    assert "already up to date" in lines[0]
    assert log.read_text().count("buildah build") == before == 1
    built(tmp_path, force=True)
    assert log.read_text().count("buildah build") == 2


def test_an_image_with_another_identity_is_not_put_into_place(stand_ins, tmp_path):
    _, identity = stand_ins
    built(tmp_path)
    identity.write_text(json.dumps({**json.loads(identity.read_text()), "lock_sha256": "0" * 64}))
    with pytest.raises(RobustftError, match="does not have the expected identity"):
        built(tmp_path, force=True)
    assert (tmp_path / "sif" / "robustft-report.sif").read_text() == "made"
    assert len(list((tmp_path / "sif").iterdir())) == 1


def test_a_build_that_fails_leaves_the_image_before_it(stand_ins, program, tmp_path):
    target, _ = built(tmp_path)
    target.write_text("before")
    program("buildah", 'case "$1" in --version) echo buildah version 1 ;; *) exit 3 ;; esac')
    with pytest.raises(RobustftError, match="exit status 3"):
        built(tmp_path, force=True)
    assert target.read_text() == "before"


def test_without_apptainer_the_image_stays_in_the_builders_store(stand_ins, program, tmp_path, monkeypatch):
    _, identity = stand_ins
    monkeypatch.setattr(builders, "inside_command", lambda *_, **__: ["cat", str(identity)])
    program("apptainer", "exit 1")
    target, lines = built(tmp_path)
    assert target is None
    assert "no SIF" in lines[-1]


def test_images_of_other_pins_have_other_names():
    tags = {build.tag_of(expected_image(role, {**ROLES[role], "base": base})) for role in ROLES for base in ("a", "b")}
    assert len(tags) == 4
