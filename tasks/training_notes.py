"""What a record says of a training whose settings were chosen on val."""

from collections.abc import Iterator
from typing import Any

from backbones.training.outcomes import Fitted
from tasks.base import Note
from tasks.race import Tried
from tasks.search import Found


def search_notes(found: Found) -> Iterator[Note]:
    """The choice, every trial and the budget; nothing where nothing was tried."""
    if not found.tried:
        return
    yield Note("chosen", found.choice)
    yield Note("trials", [_told(each) for each in found.tried])
    yield Note("trial_epochs", sum(each.epochs for each in found.tried))
    yield Note("gain_on_val", found.gain)


def _told(tried: Tried) -> dict[str, Any]:
    told = {"choice": tried.choice, "epochs": tried.epochs, "val": tried.merit}
    return told if tried.diverged is None else {**told, "diverged": tried.diverged}


def training_notes(fitted: Fitted) -> Iterator[Note]:
    """Length, speed, the loss of each epoch, and what the loop noted."""
    yield Note("steps", fitted.steps)
    yield Note("images_per_second_trained", fitted.images_per_second)
    yield Note("loss_by_epoch", [row["loss"] for row in fitted.epochs])
    for name, value in fitted.notes.items():
        yield Note(name, value)
