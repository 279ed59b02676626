"""Tasks and datasets by name, found by reading their files; imported when they are used."""

from collections.abc import Collection
from typing import TYPE_CHECKING

from backbones.plugins import Plugins, unknown
from tasks.datasets.catalogue import named_sets

if TYPE_CHECKING:
    from tasks.base import Task
    from tasks.datasets.base import Dataset, OpenOptions

TASKS = Plugins("task", "tasks", "TASKS", "bob.tasks")
DATASETS = Plugins("dataset", "tasks.datasets", "DATASETS", "bob.datasets")


def task_class(name: str) -> "type[Task]":
    """The task of that name. Raises ``ValueError`` with suggestions for an unknown one."""
    found: type[Task] = TASKS.load(name)
    return found


def protocol_versions(names: Collection[str]) -> dict[str, int]:
    """Today's version of each of these tasks that is known here. Only they are imported."""
    return {name: task_class(name).protocol_version for name in sorted(set(names) & TASKS.found.keys())}


def known_dataset(name: str) -> tuple[str, str]:
    """The reader a dataset's name means, and what that reader is asked for.

    ``reader``, ``reader:reference``, or a name of the catalogue (``cifar-10``, ``imagenet-1k#1%``). Raises
    ``ValueError`` with suggestions for an unknown one.
    """
    reader, _, reference = name.partition(":")
    reader, _, part = reader.partition("#")
    if reader in DATASETS.found:
        return reader, reference or part
    if name in named_sets():
        return "named", name
    raise unknown("dataset", name, [*DATASETS.found, *named_sets()])


def open_dataset(name: str, options: "OpenOptions") -> "Dataset":
    """Open a dataset by name. Raises ``ValueError`` or ``OSError`` saying what to mend."""
    reader, reference = known_dataset(name)
    dataset: Dataset = DATASETS.load(reader)(reference, options)
    return dataset
