"""Tasks and datasets by name, found by reading their files; imported when they are used."""

from typing import TYPE_CHECKING

from backbones.plugins import Plugins

if TYPE_CHECKING:
    from tasks.base import Task
    from tasks.datasets.base import Dataset, OpenOptions

TASKS = Plugins("task", "tasks", "TASKS", "bob.tasks")
DATASETS = Plugins("dataset", "tasks.datasets", "DATASETS", "bob.datasets")


def task_class(name: str) -> "type[Task]":
    """The task of that name. Raises ``ValueError`` with suggestions for an unknown one."""
    found: type[Task] = TASKS.load(name)
    return found


def open_dataset(name: str, options: "OpenOptions") -> "Dataset":
    """Open ``reader`` or ``reader:reference``. Raises ``ValueError`` or ``OSError`` saying what to mend."""
    reader, _, reference = name.partition(":")
    dataset: Dataset = DATASETS.load(reader.partition("#")[0])(reference or reader.partition("#")[2], options)
    return dataset
