"""When a training has collapsed: what the loss sees of images has lost its spread.

What keeps a method from collapsing sits behind its projector, and so does the collapse: with BatchNorm in it, an
encoder's own embedding looks sound long after its head maps all images to one point. So a :class:`Sign` is taken of
each of the outputs that a method says to watch (all, if nothing else), and compared with those before training. A
predictor's output does shrink in a sound training (BYOL's to a third); its target then does not. So it has collapsed
when some number has fallen too far in every output. Or when a number of the method's own is below the least that the
method names: an encoder can tell images apart whose teacher gives all of them the same.
"""

from collections.abc import Mapping
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from backbones.pretraining.health.closeness import closeness
from backbones.pretraining.health.deviation import deviation
from backbones.pretraining.health.rank_me import rank_me
from backbones.pretraining.method import Outputs

LEAST_RANK, LEAST_DEVIATION = 0.1, 0.5
"""Shares of what it was before training, below which it has collapsed. Lowest of sound trainings and highest of twins
in 30 to 110 steps of small networks, in the output that kept most: of deviation 0.74 and 0.58 (VICReg's after 80 steps,
0.41 after 108), of SimSiam's rank, with BatchNorm after z, 0.17 and 0.03 (0.22 after 80 steps). Closeness
sets off nothing: a sound SimCLR halved it in two epochs, and shuffled positives lowered it to no less than 0.6.
"""


class Sign(NamedTuple):
    """Of vectors of fixed images; ``closeness`` where there are two views of each that are meant to be alike."""

    rank_me: float
    deviation: float
    closeness: float | None


LEAST = Sign(LEAST_RANK, LEAST_DEVIATION, None)


def sign_of(vectors: Float[Tensor, "images dim"] | Float[Tensor, "images views dim"]) -> Sign:
    """Rank and deviation are those of the first view."""
    if vectors.ndim == 2:
        return Sign(rank_me(vectors), deviation(vectors), None)
    alike = closeness(vectors[:, :2]) if vectors.shape[1] > 1 else None
    return Sign(rank_me(vectors[:, 0]), deviation(vectors[:, 0]), alike)


def signs_of(outputs: Outputs, views: int) -> dict[str, Sign]:
    """Of those that have a vector an image, or one for each of some of its ``views``; not of maps, patches, pixels."""
    vectors = {name: value for name, value in outputs.items() if value.is_floating_point()}
    return {
        name: sign_of(value)
        for name, value in vectors.items()
        if value.ndim == 2 or (value.ndim == 3 and value.shape[1] <= views)
    }


def fallen(before: Mapping[str, Sign], now: Mapping[str, Sign]) -> list[str]:
    """What has fallen too far in all of these, in words; nothing where there are none."""
    found: list[str] = []
    for number, least in LEAST._asdict().items():
        if least is None:
            continue
        pairs = {
            name: (getattr(before[name], number), getattr(sign, number))
            for name, sign in now.items()
            if getattr(sign, number) is not None
        }
        if pairs and all(_is_below(end, least * begin) for begin, end in pairs.values()):
            found += [
                f"{number} of {name} is {end:.3g}, below {least:g} of the {begin:.3g} before training"
                for name, (begin, end) in pairs.items()
            ]
    return found


def lacking(numbers: Mapping[str, float], least: Mapping[str, float]) -> list[str]:
    """What of a method's own numbers is below its least, in words."""
    return [
        f"{name} is {numbers[name]:.3g}, below {limit:g}"
        for name, limit in least.items()
        if _is_below(numbers[name], limit)
    ]


def _is_below(value: float, limit: float) -> bool:
    """NaN, of outputs that are not finite, is below everything."""
    return not value >= limit
