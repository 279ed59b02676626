"""Projected gradient descent (Madry et al. 2018): steps of one length up the cross-entropy, back into the ball."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from tasks.ood.attacks.losses import Aim, ascent, cross_entropy
from tasks.ood.attacks.threat import Batch, Model, Threat, is_right

REACH = 2.5
"""The steps together reach 2.5 radii (Madry et al. 2018: a step is 2.5 radius / steps), so that every point of the ball
can be reached from every other."""
PURPOSE = 1


@dataclass(frozen=True)
class PGD:
    """``steps`` steps from a random point of the ball or, ``from_image``, from the image itself; an image that is
    taken for another class is done.
    """

    steps: int
    from_image: bool = False

    def __call__(self, model: Model, batch: Batch, threat: Threat) -> Float[Tensor, "batch 3 height width"]:
        """For each image the first point taken for another class, else the last."""
        moved = batch.images.clone() if self.from_image else threat.random(batch, PURPOSE)
        step = REACH * threat.radius / self.steps
        left = torch.arange(len(batch), device=moved.device)
        for _ in range(self.steps):
            images, labels, at = batch.images[left], batch.labels[left], moved[left]
            logits, _, gradient = ascent(model, at, Aim(cross_entropy, labels))
            right = is_right(logits, labels)
            left = left[right]
            if not len(left):
                break
            moved[left] = threat.project(at[right] + step * threat.steepest(gradient[right]), images[right])
        return moved
