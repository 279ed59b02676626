"""Classes matched by name between a classifier and the dataset it is tested on."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int64

from backbones.base import Backbone, Classifier
from tasks.classification.competing import compete
from tasks.datasets.base import Dataset
from tasks.datasets.partition import Part
from tasks.datasets.targets import target_refusal


@dataclass(frozen=True)
class Matched:
    """Scores (n, classes) of the images whose class both sides have, their labels among ``classes``, and their names.

    ``left_out`` counts the images of other classes.
    """

    scores: Float[np.ndarray, "n classes"]
    labels: Int64[np.ndarray, " n"]
    items: tuple[str, ...]
    classes: tuple[str, ...]
    left_out: int


def matched(scores: Float[np.ndarray, "n outputs"], part: Part, dataset: Dataset, outputs: Sequence[str]) -> Matched:
    """Only the classes that both have are left to compete. ``outputs`` names the columns of ``scores``."""
    competition = compete(dataset.classes, outputs, mask=True)
    labels = competition.of_class[part.labels]
    kept = np.flatnonzero(labels >= 0)
    items = tuple(part.names[row] for row in kept.tolist())
    return Matched(
        competition.scores(scores[kept]), labels[kept], items, competition.names(outputs), len(part) - len(kept)
    )


def match_refusal(part: Part, dataset: Dataset, outputs: Sequence[str], whose: str) -> str | None:
    """Why there is nothing to tell apart: fewer than two classes in common, or no image of one."""
    try:
        competition = compete(dataset.classes, outputs, mask=True)
    except ValueError as error:
        return f"dataset {dataset.name!r}: {error}"
    if len(competition.groups) >= 2 and (competition.of_class[part.labels] >= 0).any():
        return None
    return (
        f"dataset {dataset.name!r} shares fewer than two classes with {whose}: it has {_few(dataset.classes)}; "
        f"{whose} has {_few(outputs)}; names must match exactly"
    )


def headless(backbone: Backbone, dataset: Dataset) -> str | None:
    """Why the checkpoint's own head cannot be asked about any dataset of this kind, if it cannot."""
    if not isinstance(backbone, Classifier):
        return f"backbone {backbone.card.name!r} has no classifier head of its own; use classifier: probe"
    return target_refusal(dataset)


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:7]) + (f" and {len(names) - 7} more" if len(names) > 7 else "")
