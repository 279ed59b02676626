"""Options of the commands, declared once: the command line is made from these dataclasses and adds no flags.

All of them are execution options but ``precision``: where to look, where to write, on what to compute and to train.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer


class Storage(StrEnum):
    """How cached features are kept."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"


class Precision(StrEnum):
    """What backbones compute in; float16 and bfloat16 are autocast. It changes numbers slightly: part of the key."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


def _option(help_text: str, at_least: float | None = None) -> Any:
    return typer.Option(help=help_text, show_default=True, min=at_least)


@dataclass(frozen=True)
class Asked:
    """What to run: a plan file, or names given one by one (no plan and no names: the embedded demo)."""

    plan: Annotated[Path | None, typer.Argument(help="A plan in YAML; without one, the embedded demo.")] = None
    backbones: Annotated[list[str], _option("Backbones by name, instead of a plan.")] = field(default_factory=list)
    tasks: Annotated[list[str], _option("Tasks by name.")] = field(default_factory=list)
    datasets: Annotated[list[str], _option("Datasets by name; each task is put to each.")] = field(default_factory=list)
    seeds: Annotated[list[int], _option("Seeds; a plan's own win.")] = field(default_factory=lambda: [0])
    watch: Annotated[str, _option("A run of bob pretrain: its checkpoints too, as they appear, till its end.")] = ""


@dataclass(frozen=True)
class StoreOptions:
    """Where results are."""

    store: Annotated[Path, _option("Folder of the records.")] = Path("outputs/store")


@dataclass(frozen=True)
class DataOptions(StoreOptions):
    """Where data is and how it is read."""

    data_root: Annotated[Path, _option("Where relative paths of data, cards and weights are looked up.")] = Path(".")
    cache: Annotated[Path, _option("Folder of cached features and manifests; may be deleted.")] = Path("outputs/cache")
    skip_unreadable: Annotated[bool, _option("Leave damaged images out, counted in the record.")] = False
    drop_bad_boxes: Annotated[bool, _option("Leave out objects whose box is none, counted in the record.")] = False
    trust: Annotated[bool, _option("Read weights that can run code (TorchScript, pickles); recorded.")] = False


@dataclass(frozen=True)
class PlotOptions(DataOptions):
    """Where pictures go. Images of a contact sheet are read again from the data."""

    output: Annotated[Path, _option("Folder of the pictures.")] = Path("outputs/plots")


@dataclass(frozen=True)
class RunOptions(DataOptions):
    """On what to compute."""

    device: Annotated[str, _option("auto, cpu, cuda, cuda:1, mps.")] = "auto"
    workers: Annotated[int, _option("Decoding workers; 0: one a core.")] = 0
    precision: Annotated[Precision, _option("What backbones compute in (part of a cell's key).")] = Precision.FLOAT32
    storage: Annotated[Storage, _option("How features are cached; float16 halves them.")] = Storage.FLOAT32


class Where(StrEnum):
    """Places that a plan can run at."""

    LOCAL = "local"
    GPUS = "gpus"
    SLURM = "slurm"


@dataclass(frozen=True)
class LaunchOptions:
    """Where a plan runs. None of it changes a number: a plan may be moved in the middle."""

    on: Annotated[Where, _option("This process, the GPUs of this machine, or a SLURM cluster.")] = Where.LOCAL
    profile: Annotated[Path | None, _option("What jobs ask of the cluster, in YAML.")] = None
    name: Annotated[str, _option("Of the sweep, else the plan file's: letters, digits, - and _.")] = ""


class Strategy(StrEnum):
    """How several devices train one model."""

    AUTO = "auto"
    DDP = "ddp"
    FSDP = "fsdp"


@dataclass(frozen=True)
class TrainingOptions:
    """On what a task trains. The global batch is the task's, so none of these changes the number."""

    devices: Annotated[int, _option("Devices that train together.", 1)] = 1
    strategy: Annotated[Strategy, _option("How they share the work: copies (ddp) or shards (fsdp).")] = Strategy.AUTO
    device_batch: Annotated[int | None, _option("Items a device takes at once, else its whole share.", 1)] = None
    gradient_checkpointing: Annotated[bool, _option("Less memory for a third more computing.")] = False
    compile: Annotated[bool, _option("torch.compile what trains: slower to start, faster to run.")] = False
    checkpoint_minutes: Annotated[float, _option("Minutes between checkpoints.", 0)] = 10.0


class Alarm(StrEnum):
    """What becomes of a training whose representations have collapsed."""

    STOP = "stop"
    WARN = "warn"


@dataclass(frozen=True)
class PretrainOptions:
    """What to train, on which images. All of it but publishing, probes and the alarm changes the weights."""

    data: Annotated[str, _option("DATASET or DATASET:PART, images alone; its train split where no part is named.")] = ""
    preset: Annotated[str, _option("A published recipe of the method (bob show METHOD lists them).")] = ""
    settings: Annotated[
        list[str],
        typer.Option("--set", help="method.NAME=VALUE and recipe.NAME=VALUE, in YAML, over those of the preset."),
    ] = field(default_factory=list)
    arch: Annotated[str, _option("LIBRARY:NAME to begin with untrained, instead of the preset's.")] = ""
    kwargs: Annotated[str, _option("Arguments of the architecture, a YAML mapping.")] = ""
    size: Annotated[int | None, _option("Pixels a side, instead of the preset's or the backbone's.", 1)] = None
    init: Annotated[str, _option("A backbone to begin with, instead of an untrained architecture.")] = ""
    name: Annotated[str, _option("Of the run: letters, digits, - and _; else made of method, model and data.")] = ""
    seed: Annotated[int, _option("Of weights, order and views.", 0)] = 0
    publish_every: Annotated[int, _option("Epochs between published checkpoints; 0: the last alone.", 0)] = 50
    probe: Annotated[list[str], _option("Small labelled datasets for knn and linear after every epoch.")] = field(
        default_factory=list
    )
    alarm: Annotated[Alarm, _option("When representations collapse.")] = Alarm.WARN


def from_options(*kinds: type) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the fields of ``kinds`` as its parameters; it is called with one filled instance of each."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        parameters = {p.name: p for kind in kinds for p in _parameters(kind)}

        def run(**values: Any) -> None:
            instances = [kind(**{f.name: values.pop(f.name) for f in fields(kind)}) for kind in kinds]
            command(*instances, **values)

        own = list(inspect.signature(command, eval_str=True).parameters.values())[len(kinds) :]
        keyword = inspect.Parameter.KEYWORD_ONLY
        both = [*parameters.values(), *(p.replace(kind=keyword) for p in own)]
        run.__signature__ = inspect.Signature(both)  # type: ignore[attr-defined]
        run.__name__, run.__doc__ = command.__name__, command.__doc__
        return run

    return decorate


def _parameters(kind: type) -> list[inspect.Parameter]:
    hints, defaults = get_type_hints(kind, include_extras=True), kind()
    return [
        inspect.Parameter(
            each.name, inspect.Parameter.KEYWORD_ONLY, annotation=hints[each.name], default=getattr(defaults, each.name)
        )
        for each in fields(kind)
    ]
