"""The settings of pip that a build mounts."""

import stat

from robustft.images.pip_settings import INSIDE, PipSettings, machine_settings


def test_an_index_on_this_machine_is_mounted_and_a_certificate_gets_a_place_of_its_own(tmp_path):
    index, certificate = tmp_path / "index" / "simple", tmp_path / "ca.pem"
    index.mkdir(parents=True)
    certificate.touch()
    settings = machine_settings(
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
    assert settings.mounts == {str(index.parent): str(index.parent), str(certificate): f"{INSIDE}/ca.pem"}
    assert settings.file.read_text().splitlines() == [
        "[global]",
        "timeout = 180",
        f"extra-index-url = file://{index} https://me:secret@example.org/simple",
        f"cert = {INSIDE}/ca.pem",
    ]
    assert stat.S_IMODE(settings.file.stat().st_mode) == 0o600


def test_a_machine_without_settings_gives_none(tmp_path):
    assert machine_settings(tmp_path, ["global.disable-pip-version-check='1'"]) == PipSettings()
