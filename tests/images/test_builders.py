"""Which program builds, and by which commands; the programs are stand-ins on the PATH, tests/hpc uses real ones."""

import json
import os
import stat
from pathlib import Path

import pytest

from robustft.config.load import Config
from robustft.errors import RobustftError
from robustft.files import ROOT
from robustft.images import build, builders
from robustft.images.builders import Request, build_command, choose, inside_command, save_command
from robustft.images.pip_settings import INSIDE, PipSettings, machine_settings
from robustft.provenance.container import wanted_image

ROLES = Config(scale="smoke", papers=["twins"]).images
DIGEST = "sha256:" + "0" * 64


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Return a function that puts a stand-in on the PATH, where nothing of the machine's own is."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("bash", "cat", "sh", "printf", "env", "git"):
        found = next((p for p in os.environ["PATH"].split(":") if (Path(p) / name).exists()), None)
        if found:
            (folder / name).symlink_to(Path(found) / name)
    monkeypatch.setenv("PATH", str(folder))

    def put(name: str, script: str) -> None:
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)

    return put


def test_the_first_program_that_works_builds_and_the_others_are_told(program):
    program("docker", "echo 'Cannot connect to the daemon' >&2; exit 1")
    program("buildah", 'test "$1" = info || echo buildah version 1.28.2 "(image-spec 1)"')
    program("apptainer", "echo apptainer version 1.4.5")
    said: list[str] = []
    assert choose(None, said.append) == "buildah"
    assert said == [
        "not with docker: Cannot connect to the daemon",
        "not with podman: not installed",
        "building with buildah version 1.28.2",
    ]


def test_a_program_that_is_asked_for_is_not_replaced(program):
    program("buildah", "exit 0")
    with pytest.raises(RobustftError, match="podman: not installed"):
        choose("podman", lambda _: None)
    with pytest.raises(RobustftError, match="did you mean 'buildah'"):
        choose("builda", lambda _: None)


def test_no_program_at_all_is_one_clear_error(program):
    with pytest.raises(RobustftError, match="no program here can build an image"):
        choose(None, lambda _: None)


def request_of(pip: PipSettings, base: str = f"docker.io/nvidia/cuda:13@{DIGEST}") -> Request:
    return Request(role="report", base=base, lock="envs/report.txt", revision="abc", pip=pip)


def test_pip_settings_are_a_secret_of_the_build_and_no_argument(program, tmp_path):
    conf = tmp_path / "pip.conf"
    for name in ("docker", "podman", "buildah"):
        program(name, f"echo {name} version 1")
        pip = PipSettings(file=conf, mounts={} if name == "docker" else {"/srv/index": "/srv/index"})
        command = build_command(name, request_of(pip), "localhost/x:1")
        assert command[:2] == [name, "build"]
        assert command[command.index("--secret") + 1] == f"id=pip_conf,src={conf}"
        assert ("/srv/index:/srv/index:ro" in command) == (name != "docker")
        assert f"BASE_IMAGE=docker.io/nvidia/cuda:13@{DIGEST}" in command
        assert f"BUILT_WITH={name} version 1" in command
        assert command[-5:] == ["--file", "docker/report/Dockerfile", "--tag", "localhost/x:1", "."]


def test_docker_says_that_it_cannot_read_a_folder_of_the_machine(program):
    program("docker", "echo docker version 1")
    with pytest.raises(RobustftError, match=r"(?s)docker cannot see files.*/srv/index.*podman"):
        build_command("docker", request_of(PipSettings(mounts={"/srv/index": "/srv/index"})), "x")


@pytest.mark.parametrize(
    ("base", "source"),
    [
        (f"nvidia/cuda:13.0@{DIGEST}", {f"FROM=nvidia/cuda@{DIGEST}"}),
        (f"host:5000/cuda:13.0@{DIGEST}", {f"FROM=host:5000/cuda@{DIGEST}"}),
        ("ubuntu:24.04", {"FROM=ubuntu:24.04"}),
        ("docker-archive:/tmp/base.tar", {"BOOTSTRAP=docker-archive", "FROM=/tmp/base.tar"}),
    ],
)
def test_apptainer_takes_a_tag_or_a_digest_or_a_file(program, base, source):
    program("apptainer", "echo apptainer version 1.4.5")
    command = build_command("apptainer", request_of(PipSettings(), base), "/tmp/x.sif")
    assert source | {f"BASE_IMAGE={base}"} <= set(command)
    assert command[-2:] == ["/tmp/x.sif", "docker/report/robustft-report.def"]


@pytest.mark.parametrize("name", ["docker", "podman", "buildah"])
def test_every_program_that_keeps_a_store_saves_what_apptainer_reads(name):
    assert "/tmp/x.tar" in " ".join(save_command(name, "x", Path("/tmp/x.tar")))
    assert inside_command(name, "x", ["true"], checkout=ROOT)[-1] == "true"


# -- settings of pip ---------------------------------------------------------------------------------------------------


def test_an_index_on_this_machine_is_mounted_and_a_certificate_gets_a_place_of_its_own(tmp_path):
    index, certificate = tmp_path / "index" / "simple", tmp_path / "ca.pem"
    index.mkdir(parents=True)
    certificate.touch()
    found = machine_settings(
        tmp_path,
        [
            f":env:.cert='{certificate}'",
            ":env:.default-timeout='180'",
            "global.timeout='15'",
            f"global.extra-index-url='file://{index} https://me:secret@example.org/simple'",
            "global.disable-pip-version-check='1'",
            "freeze.timeout='10'",
        ],
    )
    assert found.mounts == {str(index.parent): str(index.parent), str(certificate): f"{INSIDE}/ca.pem"}
    assert found.file.read_text().splitlines() == [
        "[global]",
        "timeout = 180",
        f"extra-index-url = file://{index} https://me:secret@example.org/simple",
        f"cert = {INSIDE}/ca.pem",
    ]
    assert stat.S_IMODE(found.file.stat().st_mode) == 0o600


def test_a_machine_without_settings_gives_none(tmp_path):
    assert machine_settings(tmp_path, ["global.disable-pip-version-check='1'"]) == PipSettings()


# -- a build, with stand-ins -------------------------------------------------------------------------------------------

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
    wanted = wanted_image("report", {**ROLES["report"], "base": "localhost/base"})
    identity.write_text(json.dumps({**wanted, "built_with": "buildah version 1"}))
    return log, identity


def built(tmp_path: Path, **settings: object) -> tuple[Path | None, list[str]]:
    said: list[str] = []
    chosen = build.Settings(program="buildah", base="localhost/base", folder=tmp_path / "sif", **settings)
    return build.build_image("report", ROLES["report"], chosen, said.append), said


def test_a_finished_image_is_checked_put_into_place_and_not_built_twice(stand_ins, tmp_path):
    log, _ = stand_ins
    target, said = built(tmp_path)
    assert target.read_text() == "made"
    assert "checked inside: robustft-report" in "\n".join(said)
    assert [path.name for path in target.parent.iterdir()] == ["robustft-report.sif"]
    before = log.read_text().count("buildah build")
    again, said = built(tmp_path)
    assert again == target
    assert "already up to date" in said[0]
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
    target, said = built(tmp_path)
    assert target is None
    assert "no SIF" in said[-1]


def test_images_of_other_pins_have_other_names():
    tags = {build.tag_of(wanted_image(role, {**ROLES[role], "base": base})) for role in ROLES for base in ("a", "b")}
    assert len(tags) == 4
