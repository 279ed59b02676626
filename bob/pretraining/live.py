"""What is seen of a training while it runs: a bar and a line an epoch, logs with their curves, and a page."""

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from backbones.pretraining.runs import PAGE
from backbones.training.curves import draw_curves
from backbones.training.execution import LOGS
from backbones.training.logs import Logs
from backbones.training.outcomes import Row
from bob.pretraining.page import page
from bob.progress import Progress


class Live:
    """Told of every row and step of one training; a context manager that leaves the last state of all of it.

    On the terminal, of an epoch's numbers the loss, RankMe and the ``probes`` are shown, on the page all.
    """

    def __init__(
        self, folder: Path, settings: Mapping[str, Any], epochs: int, probes: Iterable[str], progress: Progress
    ) -> None:
        self.folder, self.settings, self.epochs, self.progress = folder, settings, epochs, progress
        self.shown = ("loss", "rank_me", *probes)
        self.logs = Logs(folder / LOGS)
        self._last: Row = {}

    def __enter__(self) -> "Live":
        self._draw("training")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.logs.close()
        if error is None:
            self._draw("finished")
        else:
            with suppress(OSError):  # the disk may be what stopped it
                self._draw(f"stopped: {type(error).__name__}: {error}")

    def __call__(self, kind: Literal["step", "epoch"], row: Row) -> None:
        """A row of the loop's history."""
        self.logs(kind, row)
        if kind == "epoch":
            self._last = row
            self.progress.say(f"epoch {int(row['epoch'])}/{self.epochs}  {self._numbers(self.shown)}")
            self._draw("training")

    def report(self, what: str, done: int, total: int, detail: str = "") -> None:
        """A step is done: the bar, its loss, and the last epoch's other numbers."""
        last = self._numbers(self.shown[1:])
        self.progress.advance(f"{self.folder.name} {what}", done, total, f"{detail}  {last}".strip())

    def _numbers(self, names: Iterable[str]) -> str:
        """Of the last epoch."""
        return "  ".join(f"{name} {self._last[name]:.4g}" for name in names if name in self._last)

    def _draw(self, state: str) -> None:
        curves = draw_curves(self.folder / LOGS)
        unfinished = self.folder / f".{PAGE}.{os.getpid()}"
        unfinished.write_text(page(self.folder.name, state, self.settings, self._last, curves), encoding="utf-8")
        unfinished.replace(self.folder / PAGE)
