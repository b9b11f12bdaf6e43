"""Which program builds, and by which commands; the programs are stand-ins on the PATH."""

from pathlib import Path

import pytest

from robustft.errors import RobustftError
from robustft.files import ROOT
from robustft.images.builders import Request, build_command, choose, inside_command, save_command
from robustft.images.pip_settings import PipSettings

DIGEST = "sha256:" + "0" * 64


def test_the_first_program_that_works_builds_and_the_others_are_told(program):
    program("docker", "echo 'Cannot connect to the daemon' >&2; exit 1")
    program("buildah", 'test "$1" = info || echo buildah version 1.28.2 "(image-spec 1)"')
    program("apptainer", "echo apptainer version 1.4.5")
    lines: list[str] = []
    assert choose(None, lines.append) == "buildah"
    assert lines == [
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
