"""SSH signatures: made, checked, and refused with a message that says what to do."""

from __future__ import annotations

import pytest

from robustft.errors import IntegrityError, RobustftError
from robustft.provenance.ssh import sign, signer, signing_key
from tests.provenance.signed import allow, make_key, needs_ssh

DATA = b"a statement\n"


@pytest.fixture
def signature(tmp_path):
    """A signature of `DATA` by the key `alice`."""
    path = tmp_path / "x.sig"
    path.write_bytes(sign(DATA, make_key(tmp_path, "alice")))
    return path


@needs_ssh
def test_a_signature_tells_its_key_and_an_allowed_signers_name(signature, tmp_path):
    assert signing_key(DATA, signature).type == "ED25519"
    assert signing_key(DATA, signature).fingerprint.startswith("SHA256:")
    assert signer(DATA, signature, allow(tmp_path, alice=tmp_path / "alice")) == "alice"
    assert signer(DATA, signature, allow(tmp_path, mallory=make_key(tmp_path, "mallory"))) is None


@needs_ssh
def test_a_signature_of_other_bytes_or_of_nothing_is_refused(signature, tmp_path):
    allowed = allow(tmp_path, alice=tmp_path / "alice")
    with pytest.raises(IntegrityError, match="not of this file"):
        signing_key(DATA + b" ", signature)
    assert signer(DATA + b" ", signature, allowed) is None
    signature.write_text("garbage")
    with pytest.raises(IntegrityError, match="not of this file"):
        signing_key(DATA, signature)


@needs_ssh
def test_a_signature_for_another_purpose_is_not_ours(tmp_path, monkeypatch):
    monkeypatch.setattr("robustft.provenance.ssh.NAMESPACE", "git")
    path = tmp_path / "x.sig"
    path.write_bytes(sign(DATA, make_key(tmp_path, "alice")))
    monkeypatch.undo()
    with pytest.raises(IntegrityError, match="namespace"):
        signing_key(DATA, path)


@needs_ssh
def test_a_signer_may_be_allowed_for_other_purposes_only(signature, tmp_path):
    allowed = allow(tmp_path, alice=tmp_path / "alice")
    allowed.write_text(allowed.read_text().replace("alice ", 'alice namespaces="git" ', 1))
    assert signer(DATA, signature, allowed) is None


@needs_ssh
def test_a_key_with_a_passphrase_is_an_error_that_names_the_agent(tmp_path, monkeypatch):
    # As without a terminal: ssh-keygen asks a program, which knows no passphrase.
    monkeypatch.setenv("SSH_ASKPASS", "/bin/false")
    monkeypatch.setenv("SSH_ASKPASS_REQUIRE", "force")
    with pytest.raises(RobustftError) as error:
        sign(DATA, make_key(tmp_path, "locked", passphrase="secret"))
    assert "ssh-add" in str(error.value)


@needs_ssh
def test_a_file_that_is_no_key_and_a_public_key_without_its_agent_say_what_to_do(tmp_path, monkeypatch):
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    (tmp_path / "text").write_text("no key")
    with pytest.raises(RobustftError, match="does not sign") as error:
        sign(DATA, tmp_path / "text")
    assert "SSH private key" in str(error.value)
    key = make_key(tmp_path, "alice")
    key.unlink()
    with pytest.raises(RobustftError, match="does not sign") as error:
        sign(DATA, key.with_suffix(".pub"))
    assert "private key" in str(error.value)


def test_a_key_that_is_not_there_is_named(tmp_path):
    with pytest.raises(RobustftError, match="no such key file") as error:
        sign(DATA, tmp_path / "none")
    assert str(tmp_path / "none") in str(error.value)


def test_without_openssh_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "key").write_text("k")
    with pytest.raises(RobustftError, match="ssh-keygen is not installed") as error:
        sign(DATA, tmp_path / "key")
    assert "openssh-client" in str(error.value)


def test_a_missing_file_of_allowed_signers_is_an_error_that_shows_its_form(tmp_path):
    with pytest.raises(RobustftError, match="no such file of allowed signers") as error:
        signer(DATA, tmp_path / "x.sig", tmp_path / "none")
    assert "ssh-ed25519" in str(error.value)
