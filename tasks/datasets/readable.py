"""Whether every image decodes, found out before any compute and remembered by content."""

import hashlib
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path

import backbones.images
from tasks.datasets.content_hashes import in_threads
from tasks.datasets.remembered import load_table, save_table, table_path
from tasks.datasets.sources import Source, printable

MOST_LISTED = 20


def check_readable(source: Source, files: Sequence[str], sha256: Sequence[str], cache: Path) -> dict[str, str]:
    """The files that do not decode, each with its reason. ``sha256`` holds their content hashes, in order.

    A verdict is remembered for a content and the versions of what decodes, so no image is decoded twice.
    """
    table_file = table_path(cache, "readable", f"{source.location} {_decoder_version()}")
    verdicts = load_table(table_file)
    content = dict(zip(files, sha256, strict=True))
    unknown = [name for name in files if not content[name] or content[name] not in verdicts]
    reasons = dict(zip(unknown, in_threads(partial(_reason, source), unknown), strict=True))
    if new := {content[name]: reason for name, reason in reasons.items() if content[name]}:
        save_table(table_file, verdicts | new)
    found = {name: reasons[name] if name in reasons else verdicts[content[name]] for name in files}
    return {name: reason for name, reason in found.items() if reason}


def listing(unreadable: dict[str, str]) -> str:
    """The files and reasons, the first of them line by line."""
    lines = [f"  {printable(name)}: {reason}" for name, reason in list(unreadable.items())[:MOST_LISTED]]
    if len(unreadable) > MOST_LISTED:
        lines.append(f"  ... and {len(unreadable) - MOST_LISTED} more")
    return "\n".join(lines)


def _decoder_version() -> str:
    """Changes with our own decoding and with the libraries below it."""
    ours = hashlib.sha256(Path(backbones.images.__file__).read_bytes()).hexdigest()
    return f"{ours} Pillow {version('pillow')} torchvision {version('torchvision')}"


def _reason(source: Source, name: str) -> str:
    """Why this file is no image, or nothing."""
    try:
        backbones.images.decode(source.read(name))
    except (OSError, ValueError) as error:
        return " ".join(str(error).split()) or type(error).__name__
    return ""
