"""Reaching files on a network: no long wait where there is none, and only whole files are kept."""

import hashlib
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit
from urllib.request import getproxies, urlopen
from uuid import uuid4

import huggingface_hub

TIMEOUT_S = 30
"""Longest silence of a server before a download is given up."""
CHUNK_BYTES = 2**20


@contextmanager
def no_long_wait() -> Iterator[None]:
    """Where the hub's host has no address, use its cache alone: the hub's own retries take 46 s to say no."""
    constants = huggingface_hub.constants
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or not reachable(constants.ENDPOINT)
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def reachable(address: str) -> bool:
    """Whether there is a proxy, or the host has an address."""
    if getproxies():
        return True
    try:
        return bool(socket.getaddrinfo(urlsplit(address).hostname, 443))
    except OSError:
        return False


def commit_of(path: Path) -> str | None:
    """The commit a file or folder in the hub's cache belongs to (``.../snapshots/COMMIT/...``); None elsewhere."""
    found = re.search(r"/models--[^/]+/snapshots/([0-9a-f]{40})(?:/|$)", path.as_posix())
    return found.group(1) if found else None


def download(url: str, to: Path, sha256: str | None = None) -> None:
    """Fetch a file whole or not at all: it is written beside ``to`` and moved there when length and hash are right.

    Raises ``OSError`` where it cannot be had or what came is not what was announced.
    """
    to.parent.mkdir(parents=True, exist_ok=True)
    part = to.with_name(f"{to.name}.{uuid4().hex}.partial")
    try:
        with part.open("xb") as file:
            _check(url, sha256, *_stream(url, file))
        part.replace(to)
    except HTTPException as error:
        raise OSError(f"{url} broke off: {error!r}") from None
    finally:
        part.unlink(missing_ok=True)


def _stream(url: str, file: BinaryIO) -> tuple[str, int, int | None]:
    """Hash and length of what came, and the length that was announced."""
    digest, length = hashlib.sha256(), 0
    with urlopen(url, timeout=TIMEOUT_S) as answer:
        while chunk := answer.read(CHUNK_BYTES):
            digest.update(chunk)
            length += file.write(chunk)
        announced = answer.headers.get("Content-Length")
    return digest.hexdigest(), length, int(announced) if announced else None


def _check(url: str, stated: str | None, found: str, length: int, announced: int | None) -> None:
    if announced is not None and length != announced:
        raise OSError(f"{url} broke off after {length:,} of {announced:,} bytes; try again")
    if stated is not None and found != stated:
        raise OSError(f"{url} has sha256 {found}, not {stated}: it is another file now")
