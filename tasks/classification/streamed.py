"""Train heads on features that stay on disk: the best on val is trained anew on train and val, and tested once."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from backbones.base import Backbone
from backbones.inference import Layer
from backbones.training.execution import Report
from tasks.base import Extract, Note, Outputs, Score
from tasks.classification.batches import Batch, ahead, in_order, shuffled
from tasks.classification.choosing import HeadChoice, Scorer, choose_head
from tasks.classification.descent import DescentSettings
from tasks.classification.report import report
from tasks.datasets.partition import Part, Partition
from tasks.features import collapse_notes, rows_of
from tasks.rows import Rows

Grid = list[tuple[float, float]]
"""A (learning rate, weight decay) a head."""


@dataclass(frozen=True)
class Known:
    """What is learnt from."""

    rows: Rows
    labels: Int64[np.ndarray, " n"]

    def joined(self, other: "Known") -> "Known":
        """These, then the other's."""
        return Known(self.rows.joined(other.rows), np.concatenate([self.labels, other.labels]))

    def lessons(self, settings: DescentSettings, seed: int, told: Report | None) -> Iterator[tuple[float, Batch]]:
        """Every batch of a training, with the factor of its learning rate."""
        total = settings.epochs * (len(self.rows) // settings.batch)
        lessons = ahead(shuffled(self.rows, self.labels, settings.batch, settings.epochs, seed))
        for done, (epoch, batch) in enumerate(lessons, start=1):
            yield settings.factor(epoch), batch
            if told is not None:
                told("heads", done, total)


Train = Callable[[Known, Grid], Scorer]
"""Trains a head for every pair of the grid."""


def known(backbone: Backbone, part: Part, extract: Extract, layer: Layer) -> Known:
    """The features of a part, on disk, with its labels."""
    return Known(rows_of(backbone, part, extract, layer), part.labels)


def best_on_val(settings: DescentSettings, train: Train, learnt: Known, val: Known) -> HeadChoice:
    """The best of the grid, of heads that saw what is ``learnt``."""
    grid = settings.grid()
    return choose_head(train(learnt, grid), len(grid), in_order(val.rows, val.labels, settings.batch))


def answers(
    settings: DescentSettings, train: Train, backbone: Backbone, parts: Partition, extract: Extract, layer: Layer
) -> Iterator[Score | Outputs | Note]:
    """Choose on val (where there is a choice), train anew on train and val, test once."""
    learnt, val, test = (known(backbone, part, extract, layer) for part in (parts.train, parts.val, parts.test))
    yield from collapse_notes(learnt.rows, "train")
    best = 0
    if len(settings.grid()) > 1:
        choice = best_on_val(settings, train, learnt, val)
        yield from choice.notes(settings)
        best = choice.best
    rate, decay = settings.grid()[best]
    yield Note("learning_rate", rate)
    yield Note("weight_decay", decay)
    scorer = train(learnt.joined(val), [(rate, decay)])
    logits = [scorer(features)[:, 0] for features, _ in in_order(test.rows, test.labels, settings.batch)]
    yield from report(np.concatenate(logits), test.labels, parts.test.names)
