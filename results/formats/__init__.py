"""The board as text: one module a format, each with ``render(board) -> str``."""

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from results.board import Board

FORMATS = {
    "markdown": "results.formats.markdown",
    "csv": "results.formats.comma_separated",
    "json": "results.formats.json_document",
    "latex": "results.formats.latex",
    "html": "results.formats.page",
}


def renderer(name: str) -> "Callable[[Board], str]":
    """The function that writes a board as ``name``."""
    render: Callable[[Board], str] = import_module(FORMATS[name]).render
    return render
