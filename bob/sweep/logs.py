"""The log of one attempt, found in the log of the worker that did many cells."""

import re
from collections.abc import Iterator
from pathlib import Path

from results.names import visible

LONGEST_LINE = 2000

_ESCAPE = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)?|.)?")
"""What colours and moves: CSI and OSC sequences, and any other."""


def begin_mark(key: str, number: int) -> str:
    """The line a worker prints before an attempt."""
    return f"== {key} attempt {number} =="


def end_mark(key: str, cause: str) -> str:
    """The line a worker prints after an attempt."""
    return f"== {key} {cause} =="


def lines_between(log: Path, key: str, number: int) -> Iterator[str]:
    """Lines of an attempt, its marks left out, safe to show; none where the log does not tell of it.

    A log of an attempt that goes on, or died without a word, ends where the file does or the next cell begins.
    Raises ``OSError`` where the log cannot be read.
    """
    start = begin_mark(key, number).encode()
    with log.open("rb") as file:
        offset = _after_last(file, start)
        if offset is None:
            return
        file.seek(offset)
        for raw in file:
            if _is_mark(raw):
                return
            yield plain_line(raw.decode("utf-8", errors="replace"))


def _after_last(file: "Iterator[bytes]", mark: bytes) -> int | None:
    """Where the line after the last such mark begins: of a log that was appended to, the newest part counts."""
    found, position = None, 0
    for raw in file:
        position += len(raw)
        if raw.strip() == mark:
            found = position
    return found


def _is_mark(raw: bytes) -> bool:
    return re.fullmatch(rb"== [0-9a-f]{8,64} [a-z0-9 /]{1,60} ==", raw.strip()) is not None


def plain_line(line: str) -> str:
    """What a terminal shows of a line at last: no colours, the end of a progress bar, nothing that moves the cursor.

    >>> plain_line("\\x1b[31mred\\x1b[0m\\n"), plain_line("10%\\r90%\\r\\n"), plain_line("a\\tb\\x07")
    ('red', '90%', 'a       b·')
    """
    text = _ESCAPE.sub("", line.rstrip("\r\n"))
    return visible(text.rsplit("\r", 1)[-1].expandtabs(), LONGEST_LINE)
