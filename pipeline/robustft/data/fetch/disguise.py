"""What stands in the place of a published file whose hash is not known, told by its first bytes and its end."""

from __future__ import annotations

import zipfile
from pathlib import Path

HEAD_BYTES = 4096

_PAGES = (b"<!doctype html", b"<html", b"<head", b"<!--")
_LFS = b"version https://git-lfs.github.com/spec/"
_TEXTS = {".txt", ".csv", ".tsv", ".json", ".xml", ".html", ".yaml", ".yml", ".md"}


def is_text(name: str) -> bool:
    """Tell whether a file of that name holds text."""
    return Path(name).suffix.lower() in _TEXTS


def disguised(path: Path, *, text: bool) -> str | None:
    """Return what a file on the disk is instead of data, None if nothing speaks against it; see `stranger`.

    A zip archive without its end is not whole: weights of torch and numpy are zip archives.
    """
    with open(path, "rb") as stream:
        head = stream.read(HEAD_BYTES)
    if head.startswith(b"PK\x03\x04") and not zipfile.is_zipfile(path):
        return "it is a zip archive without its end: a part of the file"
    what = stranger(head, text=text)
    return f"it is {what}" if what else None


def stranger(head: bytes, *, text: bool, page: bool = False) -> str | None:
    """Return what a file that begins with `head` is in the place of a published one, None if it may be that one.

    Args:
        head: its first bytes, at most `HEAD_BYTES`.
        text: whether the published file may be a text.
        page: whether the server calls it a web page. Some servers call everything a page.
    """
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if start.startswith(_LFS):
        return "a pointer of Git LFS in the place of the file: run `git lfs pull` there, or fetch the file itself"
    if start.startswith(_PAGES) or (page and start.startswith(b"<")):
        if b"google drive" in start:
            return (
                "a page of Google Drive in the place of the file: it asks for a click, because it could not scan the"
                " file for viruses, or too many people fetched it today; fetch it in a browser"
            )
        return "a web page (HTML) in the place of the file"
    if text or min(head, default=9) < 9:  # no binary format does without such bytes, and no text has one
        return None
    kind = "an XML message" if start.startswith(b"<") else "a JSON message" if start[:1] in (b"{", b"[") else "a text"
    excerpt = " ".join(head[:200].decode("utf-8", "replace").split())
    return f"{kind} in the place of the file: {excerpt}" if excerpt else "an empty file"
