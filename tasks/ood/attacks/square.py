"""A black-box attack: random squares of change, kept where they lower the margin; it asks for logits, never gradients.

Square attack (Andriushchenko et al. 2020), simplified: stripes first, then one square a query whose side shrinks by
the paper's schedule, with one random sign a colour. Under L2 the same squares are used with an amplitude of radius /
sqrt(d) everywhere, so that the whole change has the radius; the paper moves bumps of change about, which is stronger.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from tasks.ood.attacks.threat import Batch, Model, Threat, margins

FIRST_SHARE = 0.8
"""Of the image, the first squares' area."""
HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
"""Of 10,000 queries, where the area halves."""
PURPOSE = 2


@dataclass(frozen=True)
class Square:
    """``queries`` forward passes an image at most; an image that is taken for another class is done."""

    queries: int

    @torch.no_grad()
    def __call__(self, model: Model, batch: Batch, threat: Threat) -> Float[Tensor, "batch 3 height width"]:
        """For each image the first point taken for another class, else the one of the lowest margin."""
        height, width = batch.images.shape[2:]
        amplitude = threat.radius
        if threat.norm == "l2":
            amplitude /= math.sqrt(3 * height * width)
        generators = batch.generators(PURPOSE)
        stripes = np.stack([one.choice([-1.0, 1.0], (3, 1, width)) for one in generators])
        moved = threat.project(batch.images + amplitude * torch.from_numpy(stripes).to(batch.images), batch.images)
        lowest = margins(model(moved), batch.labels)
        for query in range(1, self.queries):
            left = torch.nonzero(lowest > 0)[:, 0]
            if not len(left):
                break
            side = max(1, min(height, width, round(math.sqrt(area(query, self.queries) * height * width))))
            images = batch.images[left]
            tried = moved[left].clone()
            for place, row in enumerate(left.tolist()):
                drawn = generators[row]
                top, down = (int(drawn.integers(extent - side + 1)) for extent in (height, width))
                window = (place, slice(None), slice(top, top + side), slice(down, down + side))
                signs = torch.from_numpy(drawn.choice([-1.0, 1.0], (3, 1, 1))).to(images)
                tried[window] = images[window] + amplitude * signs
            tried = threat.project(tried, images)
            found = margins(model(tried), batch.labels[left])
            lower = found < lowest[left]
            moved[left[lower]], lowest[left[lower]] = tried[lower], found[lower]
        return moved


def area(query: int, queries: int) -> float:
    """The share of the image a square covers.

    >>> [area(query, 10_000) for query in (1, 11, 9_000)]
    [0.8, 0.4, 0.0015625]
    """
    passed = query * 10_000 / queries
    share: float = FIRST_SHARE / 2 ** sum(passed > each for each in HALVINGS)
    return share
