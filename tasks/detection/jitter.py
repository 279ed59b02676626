"""At what size images are trained on and tested, and how they are varied: the settings, and the view each draws."""

from random import Random
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from tasks.detection.view import View

Side = Annotated[int, Field(ge=32)]
CROPPED_FROM = (400, 500, 600)
"""Short sides of which ``short-side-or-crop`` cuts a window (DETR, 2005.12872) ..."""
CROPPED_SIDES = (384, 600)
"""... of at least and at most so many pixels."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Jitter:
    """Images keep their aspect. Tested, the shorter side is ``short_side`` unless the longer were over ``long_side``.

    In training ``jitter`` is

    - ``large-scale`` (Ghiasi et al., 2012.07177): resized to fit a square of ``long_side``, times a factor drawn from
      ``scales``; of what is then larger a random window of that square is seen, what is smaller is padded to it;
    - ``short-side``: as tested, but with one of ``short_sides`` drawn for each image;
    - ``short-side-or-crop`` (DETR): that, half of the time of a random window of the image;
    - ``none``: as tested.

    ``flip`` is the probability of being mirrored.
    """

    jitter: Literal["large-scale", "short-side", "short-side-or-crop", "none"] = "large-scale"
    short_side: Side = 1024
    long_side: Side = 1024
    scales: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]] = (0.1, 2.0)
    short_sides: tuple[Side, ...] = ()
    flip: float = Field(default=0.5, ge=0, le=1)

    @model_validator(mode="after")
    def _sizes_in_order(self) -> "Jitter":
        if self.short_side > self.long_side:
            raise ValueError(f"short_side ({self.short_side}) is above long_side ({self.long_side})")
        if self.scales[0] > self.scales[1]:
            raise ValueError(f"scales must be (lowest, highest), not {self.scales}")
        if self.jitter.startswith("short-side") and not self.short_sides:
            raise ValueError(f"jitter {self.jitter} draws from short_sides, and they are empty")
        if over := [side for side in self.short_sides if side > self.long_side]:
            raise ValueError(f"short_sides {over} are above long_side ({self.long_side})")
        return self

    @property
    def square(self) -> int | None:
        """The side of the square every image is padded to, trained on or tested, where there is one (as in ViTDet)."""
        return self.long_side if self.jitter == "large-scale" else None


def as_tested(jitter: Jitter, size: tuple[int, int]) -> View:
    """The whole of an image of ``size`` (height, width).

    >>> as_tested(Jitter(short_side=512, long_side=853), (480, 640)).size
    (512, 683)
    """
    return _fitted((0, 0, *size), jitter.short_side, jitter.long_side)


def drawn(jitter: Jitter, size: tuple[int, int], chance: Random) -> View:
    """A view to train on, of an image of ``size`` (height, width)."""
    mirrored = chance.random() < jitter.flip
    if jitter.jitter == "large-scale":
        view = _large_scale(jitter, size, chance)
    elif jitter.jitter == "none":
        view = as_tested(jitter, size)
    else:
        window = (0, 0, *size)
        if jitter.jitter == "short-side-or-crop" and chance.random() < 0.5:
            window = _window(size, chance)
        view = _fitted(window, _one_of(jitter.short_sides, chance), jitter.long_side)
    return view._replace(mirrored=mirrored)


def _fitted(window: tuple[int, int, int, int], short_side: int, long_side: int) -> View:
    height, width = window[2:]
    scale = min(short_side / min(height, width), long_side / max(height, width))
    return View(window, (_rounded(height * scale), _rounded(width * scale)))


def _large_scale(jitter: Jitter, size: tuple[int, int], chance: Random) -> View:
    low, high = jitter.scales
    side = jitter.long_side
    scale = (low + (high - low) * chance.random()) * side / max(size)
    seen = [length if length * scale <= side else max(1, round(side / scale)) for length in size]
    starts = [int(chance.random() * (length - part + 1)) for length, part in zip(size, seen, strict=True)]
    shown = [min(side, _rounded(part * scale)) for part in seen]
    return View((starts[0], starts[1], seen[0], seen[1]), (shown[0], shown[1]))


def _window(size: tuple[int, int], chance: Random) -> tuple[int, int, int, int]:
    """What DETR cuts out of the image resized to a short side, in pixels of the image."""
    scale = _one_of(CROPPED_FROM, chance) / min(size)
    low, high = CROPPED_SIDES
    sides = [low + int(chance.random() * (min(high, max(low, length * scale)) - low + 1)) for length in size]
    seen = [min(length, max(1, round(side / scale))) for length, side in zip(size, sides, strict=True)]
    starts = [int(chance.random() * (length - part + 1)) for length, part in zip(size, seen, strict=True)]
    return starts[0], starts[1], seen[0], seen[1]


def _one_of(sides: tuple[int, ...], chance: Random) -> int:
    return sides[int(chance.random() * len(sides))]


def _rounded(length: float) -> int:
    return max(1, round(length))
