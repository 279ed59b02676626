"""Progress on the terminal (a bar and a line a cell), or lines alone where there is none."""

import sys
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars


class Progress:
    """Writes to standard error, so that the board on standard output can be piped."""

    def __init__(self) -> None:
        console = Console(file=sys.stderr)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[detail]}", markup=False),
        )
        self._bars = Bars(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._shown: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def say(self, line: str) -> None:
        """A line that stays."""
        self._bars.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def advance(self, what: str, done: int, total: int, detail: str = "") -> None:
        """``done`` of ``total`` images or steps of ``what``, a detail beside it; its bar goes when it is full."""
        if what not in self._shown:
            self._shown[what] = self._bars.add_task(what, total=total, detail=detail)
        self._bars.update(self._shown[what], completed=done, detail=detail)
        if done >= total:
            self._bars.remove_task(self._shown.pop(what))
