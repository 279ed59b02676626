"""What segmentation yields from counts of pixels: scores with intervals, a table of images, what was left out."""

from collections.abc import Iterator, Sequence

import numpy as np

from tasks.base import Note, Outputs, Score
from tasks.segmentation.confusion import Counts, table_of


def report(
    counts: Counts, classes: Sequence[str], items: Sequence[str], split: str = "test"
) -> Iterator[Score | Outputs | Note]:
    """miou, mean_accuracy, pixel_accuracy and the IoU of each class the truth has (``iou:NAME``); then the images.

    Raises ``ValueError`` where no pixel has a class.
    """
    asked = np.flatnonzero(counts.asked).tolist()
    names = ["miou", "mean_accuracy", "pixel_accuracy", *(f"iou:{classes[at]}" for at in asked)]
    for name, value, interval in zip(names, counts.values().tolist(), counts.intervals(), strict=True):
        yield Score(name, value, None, split, interval=interval)
    yield Outputs(table_of(counts, items), split)
    if absent := [name for at, name in enumerate(classes) if at not in set(asked)]:
        yield Note("classes_without_a_pixel", absent)
    label, miou, accuracy = counts.most_frequent()
    yield Note("most_frequent_class", {"class": classes[label], "miou": miou, "pixel_accuracy": accuracy})
