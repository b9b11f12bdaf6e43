import os
from pathlib import Path

import pytest


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Return a function that puts a stand-in on the PATH, where nothing of the machine's own is."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("bash", "cat", "sh", "printf", "env", "git"):
        original = next((p for p in os.environ["PATH"].split(":") if (Path(p) / name).exists()), None)
        if original:
            (folder / name).symlink_to(Path(original) / name)
    monkeypatch.setenv("PATH", str(folder))

    def put(name: str, script: str) -> None:
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)

    return put
