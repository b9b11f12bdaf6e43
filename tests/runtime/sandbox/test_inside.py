"""The side of the confined process, run by hand; `test_call` has the rest."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict

from robustft.files import PACKAGE, ROOT
from robustft.runtime.sandbox.call import Limits
from robustft.runtime.sandbox.inside import ANSWER, REQUEST


def test_a_request_in_a_room_is_answered_there_and_lines_come_by_standard_output(tmp_path):
    limits = Limits(memory_bytes=300 << 20, file_bytes=1 << 20, cpu_s=60)
    request = {
        **{"function": "tests.runtime.sandbox.inmates:answers", "arguments": {"text": "é"}, "parent": os.getpid()},
        **{"reads": [], "writes": [], "libraries": [], "limits": asdict(limits)},
    }
    (tmp_path / REQUEST).write_text(json.dumps(request), encoding="ascii")
    path = [*filter(None, sys.path), str(PACKAGE.parent), str(ROOT)]
    start = f"import sys; sys.path[:] = {path!r}; from robustft.runtime.sandbox import inside; inside.main(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-I", "-c", start, str(tmp_path)], capture_output=True, text=True, check=True, timeout=60
    )
    assert [json.loads(line) for line in done.stdout.splitlines()] == ["begins"]
    assert "a library talks" in done.stderr
    answer = json.loads((tmp_path / ANSWER).read_text(encoding="ascii"))
    assert answer["value"] == {"text": "é", "argv": 2}
