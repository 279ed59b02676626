"""Whether every image decodes, and to what size, found out before any compute and remembered by content."""

import hashlib
import re
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path

import backbones.images
from tasks.datasets.content_hashes import in_threads
from tasks.datasets.remembered import load_table, save_table, table_path
from tasks.datasets.sources import Source, printable

MOST_LISTED = 20
_SIZE = re.compile(r"(\d+)x(\d+)")
"""The verdict on an image that decodes: height x width. Any other verdict is the reason why it does not."""


def check_readable(source: Source, files: Sequence[str], sha256: Sequence[str], cache: Path) -> dict[str, str]:
    """The files that do not decode, each with its reason. ``sha256`` holds their content hashes, in order.

    A verdict is remembered for a content and the versions of what decodes, so no image is decoded twice.
    """
    verdicts = _verdicts(source, files, sha256, cache)
    return {name: verdict for name, verdict in verdicts.items() if not _SIZE.fullmatch(verdict)}


def decoded_sizes(
    source: Source, files: Sequence[str], sha256: Sequence[str], cache: Path
) -> dict[str, tuple[int, int]]:
    """The (height, width) of the files that decode, as they are decoded: EXIF turns an image. Remembered as above."""
    verdicts = _verdicts(source, files, sha256, cache)
    matches = {name: _SIZE.fullmatch(verdict) for name, verdict in verdicts.items()}
    return {name: (int(match[1]), int(match[2])) for name, match in matches.items() if match}


def listing(unreadable: dict[str, str]) -> str:
    """The files and reasons, the first of them line by line."""
    lines = [f"  {printable(name)}: {reason}" for name, reason in list(unreadable.items())[:MOST_LISTED]]
    if len(unreadable) > MOST_LISTED:
        lines.append(f"  ... and {len(unreadable) - MOST_LISTED} more")
    return "\n".join(lines)


def _verdicts(source: Source, files: Sequence[str], sha256: Sequence[str], cache: Path) -> dict[str, str]:
    table_file = table_path(cache, "decoded", f"{source.location} {_decoder_version()}")
    verdicts = load_table(table_file)
    content = dict(zip(files, sha256, strict=True))
    unknown = [name for name in files if not content[name] or content[name] not in verdicts]
    fresh = dict(zip(unknown, in_threads(partial(_verdict, source), unknown), strict=True))
    if new := {content[name]: verdict for name, verdict in fresh.items() if content[name]}:
        save_table(table_file, verdicts | new)
    return {name: fresh[name] if name in fresh else verdicts[content[name]] for name in files}


def _decoder_version() -> str:
    """Changes with our own decoding and with the libraries below it."""
    ours = hashlib.sha256(Path(backbones.images.__file__).read_bytes()).hexdigest()
    return f"{ours} Pillow {version('pillow')} torchvision {version('torchvision')}"


def _verdict(source: Source, name: str) -> str:
    """The size of this image, or why it is none."""
    try:
        _, height, width = backbones.images.decode(source.read(name)).shape
    except (OSError, ValueError) as error:
        return " ".join(str(error).split()) or type(error).__name__
    return f"{height}x{width}"
