"""The worst of several attacks at several budgets: an image is robust where none of them moves it to another class."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from tasks.ood.attacks.apgd import APGD, TargetedAPGD
from tasks.ood.attacks.losses import cross_entropy, dlr
from tasks.ood.attacks.pgd import PGD
from tasks.ood.attacks.square import Square
from tasks.ood.attacks.threat import Attack, Batch, Model, Threat, is_right

AttackName = Literal["pgd", "apgd-ce", "apgd-dlr", "apgd-targeted", "square"]
NEVER = np.iinfo(np.int64).max


def attacks_of(names: Sequence[AttackName], steps: int, queries: int, targets: int) -> dict[str, Attack]:
    """Attacks by name, in the order of the names."""
    known: dict[AttackName, Attack] = {
        "pgd": PGD(steps),
        "apgd-ce": APGD(steps, cross_entropy),
        "apgd-dlr": APGD(steps, dlr),
        "apgd-targeted": TargetedAPGD(steps, targets),
        "square": Square(queries),
    }
    return {name: known[name] for name in names}


@dataclass(frozen=True)
class Pictures:
    """8-bit images as the backbone gets them, before normalisation, with their labels; handed out in batches.

    ``seed`` and an image's place decide its random numbers, so that the size of a batch changes nothing.
    """

    pixels: UInt8[Tensor, "n 3 height width"]
    labels: Int64[np.ndarray, " n"]
    seed: int
    device: torch.device
    batch_size: int

    def __len__(self) -> int:
        return len(self.labels)

    def batches(self, rows: Int64[np.ndarray, " rows"]) -> Iterator[tuple[Int64[np.ndarray, " some"], Batch]]:
        """The images ``rows``, some at a time, in [0, 1] on the device."""
        for begin in range(0, len(rows), self.batch_size):
            some = rows[begin : begin + self.batch_size]
            images = self.pixels[torch.from_numpy(some)].to(self.device, torch.float32) / 255
            labels = torch.from_numpy(self.labels[some]).to(self.device)
            yield some, Batch(images, labels, [(self.seed << 32) + row for row in some.tolist()])


@dataclass(frozen=True)
class Fallen:
    """The first budget at which each image falls (its place in the list; -1: wrong as it is; :data:`NEVER`).

    ``attack`` says to what, empty where to none; ``prediction`` is the model's answer to the image as it is.
    """

    budget: Int64[np.ndarray, " n"]
    attack: tuple[str, ...]
    prediction: Int64[np.ndarray, " n"]


def fall(model: Model, pictures: Pictures, threats: Sequence[Threat], attacks: Mapping[str, Attack]) -> Fallen:
    """Every attack at every budget, smallest first, on the images that are still robust.

    What falls at a budget has fallen at every larger one, whose ball holds the smaller: robustness never rises.
    """
    every = np.arange(len(pictures))
    prediction = np.concatenate([predicted(model, batch) for _, batch in pictures.batches(every)])
    right = np.concatenate([_is_robust(model, batch, batch.images) for _, batch in pictures.batches(every)])
    budget = np.where(right, NEVER, -1)
    by = np.full(len(right), "", dtype=object)
    for place, threat in enumerate(threats):
        for name, attack in attacks.items():
            for rows, batch in pictures.batches(np.flatnonzero(budget == NEVER)):
                fallen = rows[~survives(model, batch, threat, attack)]
                budget[fallen], by[fallen] = place, name
    return Fallen(budget, tuple(by.tolist()), prediction)


def survives(model: Model, batch: Batch, threat: Threat, attack: Attack) -> np.ndarray:
    """Whether each image is still right at the point the attack found, which is put into the ball and the box again."""
    return _is_robust(model, batch, threat.project(attack(model, batch, threat), batch.images))


@torch.no_grad()
def predicted(model: Model, batch: Batch) -> np.ndarray:
    """The first of the highest classes."""
    return np.asarray(model(batch.images).argmax(1).cpu().numpy())


@torch.no_grad()
def _is_robust(model: Model, batch: Batch, images: Tensor) -> np.ndarray:
    logits = model(images)
    if not bool(torch.isfinite(logits).all()):
        raise FloatingPointError(
            "the logits of attacked images hold NaN or infinity; no robustness is computed of them"
        )
    return np.asarray(is_right(logits, batch.labels).cpu().numpy())
