"""A download step against the scripted server: its folders, its log, and how long it asked to wait."""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
from typing import NamedTuple

import pytest

from robustft.data.fetch.mirror import MIRROR
from robustft.data.fetch.step import download
from robustft.data.fetch.transfer import Patience
from robustft.errors import RobustftError
from robustft.files import ROOT
from robustft.runtime.context import Context
from tests.data.fetch.server import Answer

DATA = random.Random(0).randbytes(100_000)
OTHER = random.Random(1).randbytes(100_000)
PAGE = b"<!DOCTYPE html><html><head><title>Not found</title></head></html>"
HALF = Answer(data=DATA, etag='"a"', stop=50_000)
WHOLE = Answer(data=DATA, etag='"a"')
PROCESS = """
import json, resource, sys
from pathlib import Path
from robustft.runtime.context import Context
from robustft.data.fetch.step import download
from robustft.errors import RobustftError

file, url, output, scratch, limit = json.loads(sys.argv[1])
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
context = Context(inputs={}, outputs={"file": Path(output)}, scratch=Path(scratch), settings={"urls": [url]})
try:
    download({"file": file}, context)
except RobustftError as error:
    sys.exit(str(error))
"""


class Usage(NamedTuple):
    """The part of shutil.disk_usage that is read."""

    free: int


def described(data=DATA, *, hashed=True, **more):
    """Return the entry of a published file."""
    hashes = {"md5": hashlib.md5(data).hexdigest(), "sha256": hashlib.sha256(data).hexdigest()}
    return {"key": "toy", "name": "toy.tar.gz", "bytes": len(data), **(hashes if hashed else {}), **more}


def mirror(folder, monkeypatch, files):
    """Write files such as {"m1/toy.tar.gz": data} and make their first folders the mirror."""
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    monkeypatch.setenv(MIRROR, os.pathsep.join(sorted(str(folder / name.split("/")[0]) for name in files)))
    return folder


def stopped(*_):
    raise KeyboardInterrupt


class Bench:
    def __init__(self, folder):
        self.output, self.scratch, self.lines, self.waits = folder / "toy.download", folder / "scratch", [], []
        self.scratch.mkdir()
        self.facts = {}

    def fetch(self, *urls, file=None, manual=None, **patience):
        context = Context(
            inputs={},
            outputs={"file": self.output},
            scratch=self.scratch,
            settings={"urls": list(urls), "manual": manual},
            log=self.lines.append,
        )
        settings = {"timeout_s": 5.0, "attempts": 3, "progress_bytes": 1000, "sleep": self.waits.append, **patience}
        download({"file": file or described()}, context, patience=Patience(**settings))
        self.facts = context.facts

    def fails(self, *urls, **options):
        with pytest.raises(RobustftError) as error:
            self.fetch(*urls, **options)
        assert not self.output.exists()
        return str(error.value)

    def process(self, url, *, limit=None):
        arguments = json.dumps([described(), url, str(self.output), str(self.scratch), limit])
        return subprocess.Popen([sys.executable, "-c", PROCESS, arguments], cwd=ROOT, stderr=subprocess.PIPE, text=True)

    @property
    def parts(self):
        return sorted(path.stat().st_size for path in self.scratch.glob("*.part"))

    @property
    def log(self):
        return "\n".join(self.lines)
