"""A web server on this machine whose answers are scripted, for tests of downloads."""

from __future__ import annotations

import contextlib
import ssl
import threading
from collections import defaultdict
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the server does with one request."""

    data: bytes = b""
    status: int = 200
    etag: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    ranges: bool = True
    """Whether Range is honoured."""
    if_range: bool = True
    """Whether If-Range is: if not, Range is answered although the file is another one."""
    early: int = 0
    """How many bytes before the one that was asked for a partial answer begins."""
    length: int | None = None
    """Said as Content-Length in the place of the truth; -1 for not message (the end is where the connection ends)."""
    stop: int | None = None
    """Close the connection after so many bytes of this answer."""
    stall: int | None = None
    """Send nothing more after so many bytes of this answer, and keep the connection."""


class Asked(NamedTuple):
    """A request as it came."""

    path: str
    range: str | None
    if_range: str | None
    encoding: str | None
    """Accept-Encoding."""


class Server:
    """Answers the requests for a path by its script, one after another, the last one for ever.

    With a `certificate` (a PEM file that holds its key too) it speaks TLS.
    """

    def __init__(self, *, certificate: Path | None = None) -> None:
        self.scripts: dict[str, list[Answer]] = {}
        self.asked: list[Asked] = []
        self.sent: dict[str, list[int]] = defaultdict(list)
        """Bytes of the file in each answer for a path."""
        self.closing = threading.Event()
        script = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                script.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._http.socket = context.wrap_socket(self._http.socket, server_side=True)
        self.url = f"{'https' if certificate else 'http'}://127.0.0.1:{self._http.server_port}"

    def script(self, path: str, *answers: Answer) -> str:
        """Set what a path answers, and return its address."""
        self.scripts[path] = list(answers)
        return self.url + path

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        path = request.path
        names = ("Range", "If-Range", "Accept-Encoding")
        self.asked.append(Asked(path, *(request.headers[name] for name in names)))
        script = self.scripts[path]
        answer = script.pop(0) if len(script) > 1 else script[0]
        status, start = _range(answer, request)
        body = b"" if status == 416 else answer.data[start:]
        request.send_response(status)
        if status in (206, 416):
            span = f"{start}-{len(answer.data) - 1}" if status == 206 else "*"
            request.send_header("Content-Range", f"bytes {span}/{len(answer.data)}")
        if answer.length != -1:
            request.send_header("Content-Length", str(len(body) if answer.length is None else answer.length))
        if answer.etag:
            request.send_header("ETag", answer.etag)
        for name, value in answer.headers.items():
            request.send_header(name, value)
        cut = min((n for n in (answer.stop, answer.stall) if n is not None), default=len(body))
        with contextlib.suppress(ConnectionError):
            # Before it is sent: who has read an answer to its end may look here at once.
            self.sent[path].append(len(body[:cut]))
            request.end_headers()
            request.wfile.write(body[:cut])
            if answer.stall is not None:
                self.closing.wait()

    def __enter__(self) -> Server:
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._http.shutdown()
        self._http.server_close()


def _range(answer: Answer, request: BaseHTTPRequestHandler) -> tuple[int, int]:
    """Return the status of the answer and the position of its first byte."""
    asked, known = request.headers["Range"], request.headers["If-Range"]
    same = known is None or known in (answer.etag, answer.headers.get("Last-Modified"))
    if answer.status != 200 or not asked or not answer.ranges or (answer.if_range and not same):
        return answer.status, 0
    start = int(asked.removeprefix("bytes=").rstrip("-")) - answer.early
    return (206, start) if start < len(answer.data) else (416, 0)
