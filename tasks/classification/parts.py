"""What the tasks that learn from labels share: their parts, and why a dataset cannot be learnt from."""

from collections.abc import Iterator

import numpy as np

from tasks.base import Note
from tasks.datasets.base import Dataset
from tasks.datasets.partition import Partition, partition
from tasks.datasets.targets import target_refusal


def learning_refusal(dataset: Dataset) -> str | None:
    """Why no classes can be learnt from this dataset: none there, no parts, or fewer than two to tell apart."""
    if why := target_refusal(dataset):
        return why
    try:
        parts = partition(dataset, 0)
    except ValueError as error:
        return str(error)
    for name, part in (("train", parts.train), ("val", parts.val), ("test", parts.test)):
        if len(part) == 0:
            return f"dataset {dataset.name!r}: its {name} part is empty"
        if part.labels.min() < 0 or part.labels.max() >= len(dataset.classes):
            return (
                f"dataset {dataset.name!r}: {name} labels run {part.labels.min()}..{part.labels.max()}, "
                f"but its {len(dataset.classes)} classes are 0..{len(dataset.classes) - 1}"
            )
    present = np.unique(parts.train.labels)
    if len(present) < 2:
        only = dataset.classes[present[0]]
        return f"dataset {dataset.name!r} trains on one class only ({only!r}); there is nothing to tell apart"
    return None


def is_seeded(dataset: Dataset) -> bool:
    """Whether the seed decides which images are train and which val. A dataset that is refused needs no seed."""
    return learning_refusal(dataset) is None and partition(dataset, 0).seeded


def partition_notes(parts: Partition) -> Iterator[Note]:
    """Where each part came from."""
    for name, origin in parts.notes.items():
        yield Note(f"{name}_part", origin)
