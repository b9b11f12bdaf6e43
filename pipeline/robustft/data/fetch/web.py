"""Asking a web server for bytes: one answer, with every way in which it can fail sorted into two.

Standard library only. HTTP semantics as in RFC 9110.
"""

from __future__ import annotations

import contextlib
import http.client
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

_CHUNK_BYTES = 1 << 18
_TRANSIENT = {408, 425, 429, 500, 502, 503, 504}
_PAGE_STARTS = (b"<!doctype html", b"<html", b"<head", b"<!--")


class Refused(Exception):  # noqa: N818 (no fault of the program: an answer that it expects)
    """This place will not give the file, however often it is asked."""


class Interrupted(Exception):  # noqa: N818 (as above)
    """It did not work this time; `wait_s` is how long the server asks to be left alone."""

    def __init__(self, text: str, *, wait_s: float = 0.0) -> None:
        super().__init__(text)
        self.wait_s = wait_s


def _opener() -> urllib.request.OpenerDirector:
    """Return an opener for http and https, proxies and redirects included; build_opener would add file: and ftp:."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.UnknownHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.HTTPRedirectHandler,
        urllib.request.HTTPErrorProcessor,
    ):
        opener.add_handler(handler())
    return opener


@contextlib.contextmanager
def answer_to(url: str, headers: dict[str, str], *, timeout_s: float) -> Iterator[Any]:
    """Yield the http.client.HTTPResponse to a GET of `url`, whatever its status; close it at the end.

    `timeout_s` bounds the wait for a connection and for each next byte. Raises Refused for an address that cannot be
    used and Interrupted for one that did not answer.
    """
    scheme = urlsplit(url).scheme
    if scheme not in ("http", "https"):
        raise Refused(f"only http and https are fetched, not '{scheme}:'")
    request = urllib.request.Request(url, headers={"User-Agent": "robustft", "Accept-Encoding": "identity", **headers})
    try:
        answer: Any = _opener().open(request, timeout=timeout_s)
    except urllib.error.HTTPError as error:
        answer = error
    except (http.client.InvalidURL, UnicodeError) as error:
        raise Refused(f"the address cannot be used: {error}") from error
    except urllib.error.URLError as error:
        if isinstance(error.reason, ssl.SSLCertVerificationError) or "unknown url type" in str(error.reason):
            raise Refused(str(error.reason)) from error
        raise Interrupted(f"no connection: {error.reason}") from error
    except TimeoutError as error:
        raise Interrupted(f"no answer for {timeout_s:g} s") from error
    except (OSError, http.client.HTTPException) as error:
        raise Interrupted(f"no answer: {error or type(error).__name__}") from error
    with contextlib.closing(answer):
        yield answer


def chunks(answer: http.client.HTTPResponse, *, first: int, timeout_s: float) -> Iterator[bytes]:
    """Yield the answer's bytes as they come, the first `first` of them in one piece; `timeout_s` is only told.

    Raises Interrupted when they stop coming.
    """
    head = b""
    while data := _read(answer, timeout_s):
        if len(head) < first:
            head = data = head + data
            if len(head) < first:
                continue
        yield data
    if 0 < len(head) < first:
        yield head


def _read(answer: http.client.HTTPResponse, timeout_s: float) -> bytes:
    try:
        return answer.read1(_CHUNK_BYTES)
    except TimeoutError as error:
        raise Interrupted(f"the answer stalled: no byte for {timeout_s:g} s") from error
    except (OSError, http.client.HTTPException) as error:
        raise Interrupted(f"the connection broke: {error or type(error).__name__}") from error


def status_error(answer: http.client.HTTPResponse) -> Refused | Interrupted:
    """Return what a status that brings no file means: to be asked again (a full server, say), or not."""
    told = f"HTTP {answer.status} {' '.join(str(answer.reason).split())}"
    if answer.status not in _TRANSIENT:
        return Refused(told)
    asked = answer.headers.get("Retry-After", "")
    return Interrupted(told, wait_s=float(asked) if asked.isascii() and asked.isdigit() else 0.0)


def validator_of(answer: http.client.HTTPResponse) -> str | None:
    """Return what proves that two answers are of one file: a strong ETag, else the date of the last change."""
    tag = answer.headers.get("ETag", "")
    return tag if tag.startswith('"') else answer.headers.get("Last-Modified")


def length_of(answer: http.client.HTTPResponse) -> int | None:
    """Return how many bytes the answer says that it has."""
    length = answer.headers.get("Content-Length", "")
    return int(length) if length.isascii() and length.isdigit() else None


def page_error(answer: http.client.HTTPResponse, head: bytes) -> Refused | None:
    """Return an error if the answer, which begins with `head`, is a web page and so not the file.

    Told by its first bytes; where they only might be a page's, by its type too (some servers call everything a page).
    """
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    typed = answer.headers.get_content_type() == "text/html"
    if not (start.startswith(_PAGE_STARTS) or (typed and start.startswith(b"<"))):
        return None
    if b"google drive" in start:
        return Refused(
            "Google Drive answered with a page in the place of the file: it wants a click, because it could not scan"
            " the file for viruses, or too many people have fetched it today; fetch it in a browser"
        )
    return Refused("the server answered with a web page (HTML) in the place of the file")
