"""Logs of a training: a row a step and a row an epoch as CSV, and for TensorBoard where that is installed."""

import csv
import io
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, Literal

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

STEPS, EPOCHS = "steps.csv", "epochs.csv"
COUNTED = ("step", "epoch")
"""What is written as a whole number, and is no metric."""

Row = Mapping[str, int | float]


class Logs:
    """Called with every row of a training; writes ``steps.csv`` and ``epochs.csv`` in a folder as they come.

    A row is with the operating system when the call returns: a process that is killed loses at most the row it is in.
    The first row says where a training begins or goes on: it, and all that was logged behind it, is cut before, so
    that the files become those of a training that was never stopped. So rows hold no times.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._step = 0
        self._tables: dict[str, _Table] = {}
        self._board: SummaryWriter | None = None

    def __call__(self, kind: Literal["step", "epoch"], row: Row) -> None:
        """A row of a step, ``step`` and ``epoch`` among its numbers, or of an epoch, with ``epoch`` (both from 1).

        Rows of a kind have the same names each, else ``ValueError``.
        """
        if not self._tables:
            self._begin(kind, row)
        if kind == "step":
            self._step = int(row["step"])
        self._tables[kind].write({**row, "step": self._step})
        if self._board is not None:
            for name in row:
                if name not in COUNTED:
                    self._board.add_scalar(f"{kind}/{name}", row[name], self._step)

    def __enter__(self) -> "Logs":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Have everything on the disk, and close the files."""
        for table in self._tables.values():
            table.close()
        self._tables = {}
        if self._board is not None:
            self._board.close()
            self._board = None

    def _begin(self, kind: Literal["step", "epoch"], row: Row) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        epoch = int(row["epoch"])
        steps_from = ("step", int(row["step"])) if kind == "step" else ("epoch", epoch + 1)
        self._tables = {
            "step": _Table(self.folder / STEPS, *steps_from),
            "epoch": _Table(self.folder / EPOCHS, "epoch", epoch),
        }
        self._step = self._tables["step"].last_step
        self._board = _tensorboard(self.folder, self._step + (kind == "step"))


class _Table:
    """One CSV file, cut before its first row whose ``column`` is ``first`` or more; rows are in the order of it."""

    def __init__(self, path: Path, column: str, first: int) -> None:
        self.path = path
        self.last_step = 0
        self._names: list[str] = []
        self._file: BinaryIO = path.open("a+b")
        self._file.seek(0)
        self._file.truncate(self._keep(COUNTED.index(column), first))

    def _keep(self, place: int, first: int) -> int:
        """How many bytes stay. A line that is torn, or not of this file (a power cut), ends them."""
        header, length, end = b"", 0, 0
        for line in self._file:
            length += len(line)
            counts = line.rstrip(b"\n").split(b",", 2)[:2]
            if not line.endswith(b"\n"):
                break
            if not header:
                header = line
            elif len(counts) == 2 and all(map(bytes.isdigit, counts)) and int(counts[place]) < first:
                self.last_step, end = int(counts[0]), length
            else:
                break
        if end:
            (self._names,) = csv.reader([header.decode()])
        return end

    def write(self, row: Row) -> None:
        """One call of the system a row: a kill leaves it whole, absent or torn, and never mixes two."""
        names = [*COUNTED, *(name for name in row if name not in COUNTED)]
        lines = [[_text(name, row[name]) for name in names]]
        if not self._names:
            self._names = names
            lines.insert(0, names)
        if names != self._names:
            raise ValueError(f"{self.path} has the columns {self._names}; this row has {names}: every row has the same")
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(lines)
        self._file.write(text.getvalue().encode())
        self._file.flush()

    def close(self) -> None:
        os.fsync(self._file.fileno())
        self._file.close()


def _text(name: str, value: int | float) -> str:
    """Short, and read back to the same bits."""
    return str(int(value)) if name in COUNTED else repr(float(value))


def _tensorboard(folder: Path, first: int) -> "SummaryWriter | None":
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder), purge_step=first)
