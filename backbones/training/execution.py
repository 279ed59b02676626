"""How a training runs here: devices, memory, checkpoints. None of it changes the number, only how it is reached."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

Precision = Literal["float32", "bfloat16", "float16"]
LOGS = "logs"
"""The folder, in ``Execution.folder`` or in folders below it, whose files are kept when a training is done."""


@runtime_checkable
class Report(Protocol):
    """Is told of progress: ``done`` of ``total`` of something, and what else is worth seeing just now (the loss)."""

    def __call__(self, what: str, done: int, total: int, detail: str = "") -> None: ...


@dataclass(frozen=True)
class Execution:
    """Options that leave the result alone, within float tolerance; ``precision`` does not quite: it is in a cell's key.

    A step is the global batch, whatever runs it: ``devices`` x ``nodes`` x ``device_batch`` x accumulation, of which
    the accumulation is derived. ``device_batch`` None takes the whole share of a device; out of memory halves it, and
    ``halvings`` is how often it is to begin with, for a process that the system kills for its memory has no say.
    ``folder`` holds checkpoints and logs; None keeps nothing, and a training that is stopped starts again. It may not
    exist yet: who writes into it makes it.
    ``workers`` are processes that load (0: this one); an item that takes longer than ``stall_seconds`` is an error.
    """

    device: str = "auto"
    devices: int = 1
    nodes: int = 1
    strategy: Literal["auto", "ddp", "fsdp"] = "auto"
    precision: Precision = "float32"
    workers: int = 1
    device_batch: int | None = None
    halvings: int = 0
    compile: bool = False
    channels_last: bool = True
    gradient_checkpointing: bool = False
    folder: Path | None = None
    checkpoint_minutes: float = 10.0
    keep_checkpoints: int = 2
    stall_seconds: float = 300.0
    report: Report | None = None
