"""The page's files, in memory, with the headers that keep a browser from loading or running anything else."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from importlib.resources import files

START = "index.html"
_KINDS = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
# Only what this server gives may be loaded, and no text may become markup: what items are called is not ours.
_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    ]
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",  # kept, but asked about: a newer server may have a newer page
}


@dataclass(frozen=True)
class PageFile:
    """A file as it is sent.

    Args:
        content: of the file.
        headers: of the answer, its type and its tag among them.
    """

    content: bytes
    headers: dict[str, str]

    @property
    def tag(self) -> str:
        """Changes with the content."""
        return self.headers["ETag"]


@cache
def page_files() -> dict[str, PageFile]:
    """All files of the page by name."""
    folder = files("tamis.serving").joinpath("page")
    return {one.name: _file(one.name, one.read_bytes()) for one in folder.iterdir() if _ending(one.name) in _KINDS}


def _file(name: str, content: bytes) -> PageFile:
    tag = f'"{blake2b(content, digest_size=12).hexdigest()}"'
    return PageFile(content, {**_HEADERS, "Content-Type": _KINDS[_ending(name)], "ETag": tag})


def _ending(name: str) -> str:
    return "." + name.rpartition(".")[2]
