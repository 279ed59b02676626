"""The size of every image, for sets that say where things are in parts of it: read from headers, once a content."""

from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path

from backbones.images import size_of
from tasks.datasets.content_hashes import content_hashes, in_threads
from tasks.datasets.remembered import load_table, save_table, table_path
from tasks.datasets.sources import Source


def image_sizes(source: Source, files: Sequence[str], cache: Path) -> dict[str, tuple[int, int] | None]:
    """(height, width) of each image as it will be decoded; None of what is no image, which ``assemble`` tells of."""
    table_file = table_path(cache, "sizes", f"{source.location} Pillow {version('pillow')}")
    known = load_table(table_file)
    content = dict(zip(files, content_hashes(source, files, cache), strict=True))
    fresh = [file for file in files if not content[file] or content[file] not in known]
    found = dict(zip(fresh, in_threads(partial(_size, source), fresh), strict=True))
    if new := {content[file]: size for file, size in found.items() if content[file]}:
        save_table(table_file, known | new)
    return {file: _parsed(found[file] if file in found else known[content[file]]) for file in files}


def _size(source: Source, file: str) -> str:
    try:
        height, width = size_of(source.read(file))
    except (OSError, ValueError):
        return ""
    return f"{height} {width}"


def _parsed(text: str) -> tuple[int, int] | None:
    height, _, width = text.partition(" ")
    return (int(height), int(width)) if text else None
