"""The board as one HTML file: no server, no network, and no script but its own lines, named by hash in its policy."""

import base64
import hashlib
import re
from functools import cache
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from results.board import Board, Column, Entry
from results.formats import words
from results.names import LONGEST, visible

BAR = 100.0
"""Width of an interval's bar, in its own units."""


def render(board: Board) -> str:
    """The page. Everything from outside is escaped, and the content policy forbids any other script or request."""
    here = Path(__file__).parent
    style, script = (here / "page.css").read_text("utf-8"), (here / "page.js").read_text("utf-8")
    policy = (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; base-uri 'none'; form-action 'none'"
    )
    scales = [_scale([row.entries[i] for row in board.rows]) for i in range(len(board.columns))]
    page: str = _template().render(
        board=board,
        words=words,
        visible=visible,
        breakable=_breakable,
        style=style,
        script=script,
        policy=policy,
        scales=scales,
        bar=_bar,
    )
    return page


@cache
def _template():  # type: ignore[no-untyped-def]
    source = (Path(__file__).parent / "page.html.jinja").read_text("utf-8")
    return Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True).from_string(
        source
    )


def _breakable(text: str, longest: int = LONGEST) -> Markup:
    """A name that may be broken after its punctuation, not in the middle of a word."""
    return Markup("<wbr>").join(re.split(r"(?<=[_.:#/,=])(?=\w)", visible(text, longest)))


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _scale(entries: list[Entry]) -> tuple[float, float]:
    """The range a column's bars are drawn in: from its lowest bound to its highest."""
    bounds = [x for each in entries for x in (each.low, each.high, each.value) if x is not None]
    return (min(bounds), max(bounds)) if bounds else (0.0, 1.0)


def _bar(entry: Entry, column: Column, scale: tuple[float, float]) -> dict[str, float]:
    """Where the interval and the value lie on the bar, 0 to 100."""
    low, high = scale
    width = (high - low) or 1.0
    value = entry.value if entry.value is not None else low
    start, end = (value if bound is None else bound for bound in (entry.low, entry.high))
    place = {name: BAR * (x - low) / width for name, x in [("start", start), ("end", end), ("value", value)]}
    return {name: round(x, 1) for name, x in place.items()}
