"""What was submitted: written before and after, so that a launcher killed at any moment never submits twice.

A line each, JSON, appended and on disk before anything else is done:
    {"submission": ID, "units": [[...], ...]}   about to be submitted: by array index, the units of a job
    {"submission": ID, "job": "123"}            the scheduler took it
    {"submission": ID, "refused": "..."}        the scheduler did not
An intent without an answer may have been submitted: its id is the comment of its jobs, by which they are found.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass
class Submission:
    """An array of jobs. ``job`` is empty as long as the scheduler's id is not known."""

    name: str
    units: tuple[tuple[str, ...], ...]
    job: str = ""
    refused: bool = False


class Journal:
    """A file that several processes may append to. A line that is not whole (its writer was killed) does not count."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._submissions: dict[str, Submission] = {}
        self._read_to = 0

    def submissions(self) -> Mapping[str, Submission]:
        """By id, oldest first, all that were not refused."""
        try:
            with self.path.open("rb") as file:
                file.seek(self._read_to)
                data = file.read()
        except FileNotFoundError:
            data = b""
        whole = data[: data.rfind(b"\n") + 1]
        self._read_to += len(whole)
        for line in whole.splitlines():
            self._understand(line)
        return {name: each for name, each in self._submissions.items() if not each.refused}

    def intend(self, name: str, units: Sequence[Sequence[str]]) -> None:
        """Before it is submitted. Raises ``OSError``: then it must not be."""
        self._append({"submission": name, "units": units})

    def accept(self, name: str, job: str) -> None:
        """The scheduler's id."""
        self._append({"submission": name, "job": job})

    def refuse(self, name: str, message: str) -> None:
        """It is known not to be in the queue."""
        self._append({"submission": name, "refused": message})

    def _understand(self, line: bytes) -> None:
        try:
            entry = json.loads(line)
            name = entry["submission"]
            if "units" in entry:
                self._submissions[name] = Submission(name, tuple(map(tuple, entry["units"])))
            elif name in self._submissions and "job" in entry:
                self._submissions[name].job = entry["job"]
            elif name in self._submissions:
                self._submissions[name].refused = True
        except (ValueError, KeyError, TypeError):
            return  # torn: whoever wrote it did nothing yet, or its jobs are found by their comment

    def _append(self, entry: Mapping[str, Any]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        line = json.dumps(entry, separators=(",", ":")).encode() + b"\n"
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            size = os.fstat(descriptor).st_size
            if size and os.pread(descriptor, 1, size - 1) != b"\n":
                line = b"\n" + line  # a torn line ends here
            while line:
                line = line[os.write(descriptor, line) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
