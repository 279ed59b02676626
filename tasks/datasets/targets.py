"""Kinds of target in words, and why a task that needs one kind cannot use a dataset of another."""

from collections.abc import Sequence

from tasks.datasets.base import Dataset, Target

ONE_CLASS: tuple[Target, ...] = ("class", "ordinal")
"""Every image has one class; whether their order is meant is another question."""

ROWS_OF_NUMBERS: tuple[Target, ...] = ("multilabel", "value")
"""Every image has a row of numbers, a column for each of the dataset's classes."""

PLACED: tuple[Target, ...] = ("objects", "pixels")
"""What is known has a place in the image, so that an image cannot be cut or resized without it."""

ANY_OF = "|"
"""A class called ``n02110185|n02110063`` is either of the two, where they are known apart: ObjectNet's are coarser."""

IN_WORDS: dict[Target, str] = {
    "class": "one class an image",
    "ordinal": "one class an image, of an order that is meant",
    "multilabel": "any of several labels an image",
    "value": "one number an image",
    "relevance": "the right answers of each query, and no classes",
    "captions": "texts that describe each image",
    "objects": "boxes around the objects of an image",
    "pixels": "a class for every pixel",
    "nothing": "no labels",
}


def target_refusal(dataset: Dataset, needed: Sequence[Target] = ONE_CLASS) -> str | None:
    """Why a task that needs one of these kinds cannot be put to this dataset; None where it can.

    Raises ``ValueError`` where a split lacks the targets its dataset's kind promises, which is a reader's mistake.
    """
    if dataset.target not in needed:
        return (
            f"dataset {dataset.name!r} has {IN_WORDS[dataset.target]} ({dataset.target}), "
            f"and this task needs {' or '.join(IN_WORDS[kind] for kind in needed)} ({', '.join(needed)})"
        )
    width = len(dataset.classes) if dataset.target in ROWS_OF_NUMBERS else 0
    for name, split in dataset.splits.items():
        found = 0 if split.targets is None else split.targets.shape[1]
        if found != width or (split.targets is not None and len(split.targets) != len(split)):
            raise ValueError(
                f"dataset {dataset.name!r} is {dataset.target} with {len(dataset.classes)} classes, but its {name} "
                f"split of {len(split)} images has {'no targets' if split.targets is None else split.targets.shape}"
            )
    return None
