"""One answer of a web server, and what its failures mean: ask again (`Interrupted`) or go elsewhere (`Refused`).

HTTP is the work of `requests`. No message holds an address that a redirect gave: it may be signed.

Environment: HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY for proxies. REQUESTS_CA_BUNDLE, else SSL_CERT_FILE or
SSL_CERT_DIR, for certificates, else those of the system, else those of certifi. ~/.netrc for a password of a host.
"""

from __future__ import annotations

import contextlib
import email.utils
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from pathlib import Path

import requests
from urllib3.exceptions import HTTPError, ReadTimeoutError

from robustft.data.fetch.disguise import HEAD_BYTES, stranger

_PIECE_BYTES = 1 << 18
_TRANSIENT = {408, 425, 429, 500, 502, 503, 504}


class Refused(Exception):  # noqa: N818 (no fault of the program: an answer that it expects)
    """This place does not give the file, however often it is asked."""


class Interrupted(Exception):  # noqa: N818 (as above)
    """It did not work this time; `wait_s` is how long the server asks us to wait."""

    def __init__(self, text: str, *, wait_s: float = 0.0) -> None:
        super().__init__(text)
        self.wait_s = wait_s


@contextlib.contextmanager
def answer_to(url: str, headers: Mapping[str, str], *, timeout_s: float) -> Iterator[requests.Response]:
    """Yield the answer to a GET of `url`, whatever its status, after at most ten redirects; its bytes are not read.

    `timeout_s` bounds the wait for a connection and for each next byte, twice as much that for the whole head of the
    answer. Raises Refused for an address that cannot be
    used and Interrupted for one that did not answer.
    """
    own = {"User-Agent": "robustft", "Accept-Encoding": "identity"}
    with requests.Session() as session:
        session.verify, session.max_redirects = _authorities(), 10
        try:
            answer = _within(
                2 * timeout_s, lambda: session.get(url, headers={**own, **headers}, stream=True, timeout=timeout_s)
            )
        except requests.Timeout as error:
            raise Interrupted(f"no answer for {timeout_s:g} s") from error
        except (requests.TooManyRedirects, ValueError) as error:
            kind = type(error).__name__
            raise Refused(f"the address, or one that it redirects to, cannot be fetched by http ({kind})") from error
        except (OSError, HTTPError) as error:
            cause = _cause(error)
            if isinstance(cause, ssl.SSLCertVerificationError) or not isinstance(error, requests.ConnectionError):
                raise Refused(str(cause)) from error
            raise Interrupted(f"no connection: {cause}") from error
        with answer:
            yield answer


def _within(seconds: float, ask: Callable[[], requests.Response]) -> requests.Response:
    """Return the answer, or raise requests.Timeout if its head is not there by then.

    requests bounds the wait for each byte only: a server can send the head of an answer byte by byte for ever. The
    thread that still reads it ends with the process.
    """
    future: Future[requests.Response] = Future()

    def work() -> None:
        try:
            future.set_result(ask())
        except BaseException as error:  # noqa: BLE001 - it is raised where the answer is awaited
            future.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    try:
        return future.result(seconds)
    except FutureTimeout as error:
        raise requests.Timeout from error


def pieces(
    answer: requests.Response, *, timeout_s: float, slowest: float = 0.0, clock: Callable[[], float] = time.monotonic
) -> Iterator[bytes]:
    """Yield an answer's bytes as they were sent, whatever Content-Encoding says, in at least one piece.

    The first piece has `HEAD_BYTES`, however they come, if the answer has as many. Raises Interrupted when they stop,
    or when fewer than `slowest` bytes a second came for `timeout_s`.
    """
    waiting, begun = b"", False
    received, since = 0, clock()
    while data := _read(answer, timeout_s):
        received += len(data)
        if (passed := clock() - since) >= timeout_s:
            if received < slowest * passed:
                raise Interrupted(f"the answer is too slow: {received / passed:.0f} bytes a second")
            received, since = 0, clock()
        waiting += data
        if begun or len(waiting) >= HEAD_BYTES:
            yield waiting
            waiting, begun = b"", True
    if not begun:
        yield waiting


def _read(answer: requests.Response, timeout_s: float) -> bytes:
    try:
        return answer.raw.read1(_PIECE_BYTES, decode_content=False) or b""
    except ReadTimeoutError as error:
        raise Interrupted(f"the answer stalled: no byte for {timeout_s:g} s") from error
    except (OSError, HTTPError) as error:
        raise Interrupted(f"the connection broke ({type(_cause(error)).__name__})") from error


def status_error(answer: requests.Response) -> Refused | Interrupted:
    """Return what a status that brings no file means: to be asked again (a server in trouble), or not."""
    text = f"HTTP {answer.status_code} {' '.join(str(answer.reason).split())}"
    after = answer.headers.get("Retry-After")
    if answer.status_code not in _TRANSIENT and after is None:
        return Refused(text)
    return Interrupted(text, wait_s=_seconds(after or ""))


def number(text: str) -> int | None:
    """Return the whole number that a header holds, None for anything else."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def validator_of(answer: requests.Response) -> str | None:
    """Return what proves that two answers are of one file: a strong ETag, else the date of the last change."""
    tag = answer.headers.get("ETag", "")
    return tag if tag.startswith('"') else answer.headers.get("Last-Modified")


def page_error(answer: requests.Response, head: bytes, *, text: bool) -> Refused | None:
    """Return an error if an answer is a web page or a message in the place of the file; see `disguise.stranger`."""
    typed = answer.headers.get("Content-Type", "").lower().startswith("text/html")
    what = stranger(head, text=text, page=typed)
    return Refused(f"the server answered with {what}") if what else None


def _authorities() -> str | bool:
    """Return the certificates to trust: the file or folder of the environment or the system; True for certifi's."""
    paths = ssl.get_default_verify_paths()
    return paths.cafile or (paths.capath if paths.capath and any(Path(paths.capath).iterdir()) else True)


def _cause(error: BaseException) -> BaseException:
    """Return the innermost of the errors that requests and urllib3 wrap; the outer ones quote the address."""
    inner = (getattr(error, "reason", None), *error.args)
    return next((_cause(part) for part in inner if isinstance(part, BaseException)), error)


def _seconds(retry_after: str) -> float:
    """Return the seconds that Retry-After asks for, as a number or as a date; 0 if it is neither."""
    if (seconds := number(retry_after)) is not None:
        return seconds
    try:
        date = email.utils.parsedate_tz(retry_after)
        return max(0.0, email.utils.mktime_tz(date) - time.time()) if date else 0.0
    except (ValueError, OverflowError):
        return 0.0
