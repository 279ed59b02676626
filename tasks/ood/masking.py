"""Whether gradients lead an attack astray: then a model that looks robust is only hard to climb.

The signs are those of Athalye et al. 2018 and Carlini et al. 2019, each counted on a few images that are right.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np
import torch

from tasks.ood.attacks.ensemble import Pictures, survives
from tasks.ood.attacks.losses import Aim, ascent, cross_entropy, margin
from tasks.ood.attacks.pgd import PGD
from tasks.ood.attacks.square import Square
from tasks.ood.attacks.threat import Batch, Model, Threat, is_right

CHECKED = 32
"""Images at most."""
SUSPICIOUS = 0.1
"""The share of images from which a sign counts. By chance alone an honest model shows one on an image or two."""
SMALL_STEP = 0.1 / 255
"""A change of every pixel over which a loss follows its gradient: a tenth of a grey level, well above rounding."""
WHOLE_BOX = Threat("linf", 1.0)


@dataclass(frozen=True)
class OneStep:
    """One step of the whole radius along the gradient of the cross-entropy (Goodfellow et al. 2015)."""

    def __call__(self, model: Model, batch: Batch, threat: Threat) -> torch.Tensor:
        """The point reached."""
        _, _, gradient = ascent(model, batch.images, Aim(cross_entropy, batch.labels))
        return threat.project(batch.images + threat.radius * threat.steepest(gradient), batch.images)


@dataclass(frozen=True)
class Signs:
    """Shares of the images checked.

    - zero_gradient: the cross-entropy's gradient is zero everywhere;
    - against_gradient: a small step along the margin's own gradient does not raise it;
    - beyond_any_budget: gradient descent with no bound but the box does not change the answer;
    - one_step_only: one step of the largest budget succeeds where many steps fail;
    - black_box_only: random search at the largest budget succeeds where gradient descent fails.
    """

    images: int
    zero_gradient: float
    against_gradient: float
    beyond_any_budget: float
    one_step_only: float
    black_box_only: float

    def suspicions(self) -> Iterator[str]:
        """A phrase for each sign that shows."""
        words = {
            "zero_gradient": "the gradient of the cross-entropy is zero",
            "against_gradient": "a small step along the gradient does not raise the loss",
            "beyond_any_budget": "gradient descent fails even without a budget",
            "one_step_only": "one step succeeds where many fail",
            "black_box_only": "random search succeeds where gradient descent fails",
        }
        for name, share in asdict(self).items():
            if name in words and share > SUSPICIOUS:
                yield f"on {share:.0%} of {self.images} images {words[name]}"


def signs_of_masking(model: Model, pictures: Pictures, largest: Threat, steps: int, queries: int) -> Signs | None:
    """Every sign, counted on the first :data:`CHECKED` images that are right; None where no image is."""
    checked = _right(model, pictures)[:CHECKED]
    if not len(checked):
        return None
    found = [_signs(model, batch, largest, steps, queries) for _, batch in pictures.batches(checked)]
    return Signs(len(checked), *(float(np.concatenate(sign).mean()) for sign in zip(*found, strict=True)))


def _signs(model: Model, batch: Batch, largest: Threat, steps: int, queries: int) -> list[np.ndarray]:
    """Each sign but the count, for each image."""
    many = survives(model, batch, largest, PGD(steps))
    one_only = many & ~survives(model, batch, largest, OneStep())
    blind_only = many.copy()
    left = torch.from_numpy(np.flatnonzero(many))
    if len(left):  # only there can random search find what gradients do not
        blind_only[many] = ~survives(model, batch.at(left.to(batch.labels.device)), largest, Square(queries))
    free = survives(model, batch, WHOLE_BOX, PGD(steps, from_image=True))
    return [_zero(model, batch), _against(model, batch), free, one_only, blind_only]


def _right(model: Model, pictures: Pictures) -> np.ndarray:
    every = pictures.batches(np.arange(len(pictures)))
    with torch.no_grad():
        return np.concatenate([rows[is_right(model(b.images), b.labels).cpu().numpy()] for rows, b in every])


def _zero(model: Model, batch: Batch) -> np.ndarray:
    _, _, gradient = ascent(model, batch.images, Aim(cross_entropy, batch.labels))
    return np.asarray((gradient == 0).flatten(1).all(1).cpu().numpy())


def _against(model: Model, batch: Batch) -> np.ndarray:
    aim, small = Aim(margin, batch.labels), Threat("linf", SMALL_STEP)
    _, before, gradient = ascent(model, batch.images, aim)
    with torch.no_grad():
        after = aim.losses(model(small.project(batch.images + SMALL_STEP * gradient.sign(), batch.images)))
    return np.asarray((after <= before).cpu().numpy())
