"""What the documentation site does beyond its pages: links that leave docs/ become the path that they name."""

from __future__ import annotations

import re
from typing import Any

OUTSIDE = re.compile(r"\[([^\]]*)\]\((?:\.\./)+([^)#\s]+)(?:#[^)\s]*)?\)")


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Return a page whose links to files of the checkout are their paths: the site has no copy of them.

    >>> on_page_markdown("see [the images](../docker/README.md)", None)
    'see the images (`docker/README.md`)'
    >>> on_page_markdown("see [docker/README.md](../docker/README.md)", None)
    'see `docker/README.md`'
    """
    depth = page.file.src_uri.count("/") if page else 0

    def path(match: re.Match[str]) -> str:
        if match[0].count("../") <= depth:
            return match[0]
        return f"`{match[2]}`" if match[1].strip("`") == match[2] else f"{match[1]} (`{match[2]}`)"

    return OUTSIDE.sub(path, markdown)
