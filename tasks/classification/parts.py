"""What the tasks that learn from labels share: their parts, and why a dataset cannot be learnt from."""

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float32

from tasks.base import Note
from tasks.classification.target_reports import rankable
from tasks.datasets.asked_once import asked_once
from tasks.datasets.base import Dataset, Target
from tasks.datasets.partition import Part, Partition, partition
from tasks.datasets.targets import ONE_CLASS, target_refusal


@asked_once
def learning_refusal(dataset: Dataset, kinds: Sequence[Target] = ONE_CLASS) -> str | None:
    """Why a task that learns these kinds of target cannot learn from this dataset: another kind, no parts, no two
    answers to tell apart, or labels and targets that are none.
    """
    if why := target_refusal(dataset, kinds):
        return why
    try:
        parts = partition(dataset, 0)
    except ValueError as error:
        return str(error)
    for name, part in (("train", parts.train), ("val", parts.val), ("test", parts.test)):
        if len(part) == 0:
            return f"dataset {dataset.name!r}: its {name} part is empty"
        if why := _outside(dataset, part):
            return f"dataset {dataset.name!r}: {name} {why}"
    return _nothing_to_tell_apart(dataset, parts)


def _outside(dataset: Dataset, part: Part) -> str | None:
    """What a part holds that is no target of the dataset's kind."""
    if part.targets is None:
        low, high, count = part.labels.min(), part.labels.max(), len(dataset.classes)
        outside = low < 0 or high >= count
        return f"labels run {low}..{high}, but its {count} classes are 0..{count - 1}" if outside else None
    sound = np.isin(part.targets, (0, 1)) | np.isnan(part.targets)
    if dataset.target == "value":
        sound = np.isfinite(part.targets)
    if sound.all():
        return None
    row, column = np.argwhere(~sound)[0].tolist()
    choices = "a finite number" if dataset.target == "value" else "0, 1 or NaN (unknown)"
    return f"target {dataset.classes[column]!r} of {part.names[row]!r} is {part.targets[row, column]}, not {choices}"


def _nothing_to_tell_apart(dataset: Dataset, parts: Partition) -> str | None:
    train = parts.train
    if train.targets is None:
        present = np.unique(train.labels)
        only = f"one class only ({dataset.classes[present[0]]!r})" if len(present) < 2 else ""
    elif dataset.target == "value":
        only = f"one value only ({train.targets[0, 0]})" if np.ptp(train.targets) == 0 else ""
    else:
        only = "" if rankable(train.targets).any() else "labels of which none is both present and absent there"
    return f"dataset {dataset.name!r} trains on {only}; there is nothing to tell apart" if only else None


@asked_once
def is_seeded(dataset: Dataset, kinds: Sequence[Target] = ONE_CLASS) -> bool:
    """Whether the seed decides which images are train and which val. A dataset that is refused needs no seed."""
    return learning_refusal(dataset, kinds) is None and partition(dataset, 0).seeded


def targets_of(part: Part) -> Float32[np.ndarray, "n k"]:
    """What is known of each image of a part that has no classes."""
    if part.targets is None:
        raise ValueError(f"the {part.split} part has classes, and no targets beyond them")
    return part.targets


def partition_notes(parts: Partition) -> Iterator[Note]:
    """Where each part came from."""
    for name, origin in parts.notes.items():
        yield Note(f"{name}_part", origin)
