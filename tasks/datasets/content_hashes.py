"""SHA-256 of every image's content, remembered on disk so that opening a large set again reads none of it."""

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tasks.datasets.remembered import load_table, save_table, table_path
from tasks.datasets.sources import Source

SETTLED_SECONDS = 2.0
"""A file changed less than this ago is hashed but not remembered: a second change could carry the same time stamp."""
BATCH = 256


def content_hashes(source: Source, files: Sequence[str], cache: Path) -> list[str]:
    """One hash a file, in order; empty for a file that cannot be read at all.

    What is remembered is kept by the file's stamp (size, times, inode), so a changed file is hashed anew.
    """
    table_file = table_path(cache, "content", source.location)
    table = load_table(table_file)
    stamps = dict(zip(files, in_threads(lambda name: _stamp(source, name), files), strict=True))
    stale = [name for name in files if not stamps[name] or table.get(name, "").partition(" ")[0] != stamps[name]]
    hashes = dict(zip(stale, in_threads(lambda name: _sha256(source, name), stale), strict=True))
    fresh = {
        name: f"{stamps[name]} {sha256}" for name, sha256 in hashes.items() if sha256 and _is_settled(stamps[name])
    }
    if fresh:
        save_table(table_file, table | fresh)
    return [hashes[name] if name in hashes else table[name].partition(" ")[2] for name in files]


def in_threads(function: Callable[[str], str], names: Sequence[str]) -> Iterator[str]:
    """``function`` of every name, in order, computed in threads a batch at a time."""
    batches = [names[start : start + BATCH] for start in range(0, len(names), BATCH)]
    with ThreadPoolExecutor() as pool:
        for results in pool.map(lambda batch: [function(name) for name in batch], batches):
            yield from results


def _stamp(source: Source, name: str) -> str:
    try:
        return source.stamp(name)
    except OSError:
        return ""


def _sha256(source: Source, name: str) -> str:
    try:
        return hashlib.sha256(source.read(name)).hexdigest()
    except (OSError, ValueError):
        return ""


def _is_settled(stamp: str) -> bool:
    times = [int(part) / 1e9 for part in stamp.split(":")[1:3]]
    return all(abs(time.time() - seconds) > SETTLED_SECONDS for seconds in times)
