"""Small tables of text kept between runs: written whole or not at all, and nothing but a saving of time.

A table that is missing or damaged counts as empty; what it held is computed again.
"""

import hashlib
import json
import os
import tempfile
from pathlib import Path


def table_path(cache: Path, kind: str, subject: str) -> Path:
    """The file of the table of that kind about that subject (a location, say)."""
    return cache / "datasets" / f"{kind}-{hashlib.sha256(subject.encode(errors='surrogateescape')).hexdigest()[:24]}"


def load_table(path: Path) -> dict[str, str]:
    """What was saved, checked against its own checksum; empty when there is nothing sound."""
    try:
        checksum, _, body = path.read_bytes().partition(b"\n")
    except FileNotFoundError:
        return {}
    if hashlib.sha256(body).hexdigest().encode() != checksum:
        return {}
    table: dict[str, str] = json.loads(body)
    return table


def save_table(path: Path, table: dict[str, str]) -> None:
    """Replace the table in one step. Raises ``OSError`` naming the file when the disk is full or read-only."""
    body = json.dumps(table, sort_keys=True).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        Path(temporary).unlink(missing_ok=True)
        raise OSError(error.errno, f"cannot write the dataset cache: {error.strerror}", str(path)) from error
