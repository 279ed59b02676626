"""One launcher of a sweep at a time looks, decides and submits."""

import fcntl
import os
import time
from pathlib import Path
from types import TracebackType


class LaunchLock:
    """Held in a ``with`` block, which may be inside another of the same lock.

    It is a kernel's lock on a file (flock): it goes with its holder, however that dies, and is never stale. A program
    that the holder started with ``descriptor`` holds it too, so a killed launcher's sbatch is still waited for.
    Between two login nodes it holds where the file system carries flock from node to node (NFS does, Lustre when
    mounted with ``flock``). Where not, two launchers may submit the same units at once; then claims and records see
    to it that they are computed once.
    """

    def __init__(self, path: Path, wait_s: float = 600.0) -> None:
        self.path, self.wait_s = path, wait_s
        self.descriptor = -1
        self._depth = 0

    def __enter__(self) -> "LaunchLock":
        if not self._depth:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                self._take(descriptor)
            except BaseException:
                os.close(descriptor)
                raise
            self.descriptor = descriptor
        self._depth += 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._depth -= 1
        if not self._depth:
            os.close(self.descriptor)
            self.descriptor = -1

    def _take(self, descriptor: int) -> None:
        deadline = time.monotonic() + self.wait_s
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    holder = os.pread(descriptor, 200, 0).decode(errors="replace") or "another process"
                    raise TimeoutError(
                        f"{holder} holds {self.path} for {self.wait_s:g} s now: wait for it or end it"
                    ) from None
                time.sleep(0.1)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()} on {os.uname().nodename}".encode(), 0)
