"""How training images are varied: the settings alone, so that who only reads them waits for no image library."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]

RAND_AUGMENT = r"^rand(-(m\d+|n\d+|p\d*\.?\d+|mstd\d*\.?\d+|mmax\d+|inc[01]|t[a-z0-9]+))*$"


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Augmentation:
    """In this order; the defaults are a random resized crop and a flip. Size and normalisation are the backbone's.

    - A crop of ``crop_scale`` of the area and an aspect (width over height) in ``crop_ratio``, resized to the input
      size with the backbone's ``interpolation``, or (``random``) bilinear or bicubic; then, by ``flip``, mirrored.
    - ``rand_augment``: RandAugment as timm writes it (``rand-m9-mstd0.5-inc1``: magnitude 9, its deviation, operations
      that grow with it). Without it ``colour_jitter``: brightness, contrast and saturation by 1 +- that, in random
      order. With it colour jitter is off, as in timm.
    - ``erasing``: the probability that a rectangle becomes normal noise, after normalisation.
    - ``mixup``, ``cutmix``: the alpha of each step's Beta(alpha, alpha), 0 for off. Where both are on, a step is
      cutmix with probability ``cutmix_share``. Label smoothing is the loss's, and the same before mixing or after.
    """

    crop_scale: tuple[Annotated[float, Field(gt=0, le=1)], Annotated[float, Field(gt=0, le=1)]] = (0.08, 1.0)
    crop_ratio: tuple[Positive, Positive] = (3 / 4, 4 / 3)
    flip: Share = 0.5
    interpolation: Literal["backbone", "random"] = "backbone"
    rand_augment: Annotated[str, Field(pattern=RAND_AUGMENT)] | None = None
    colour_jitter: Share = 0.0
    erasing: Share = 0.0
    mixup: Annotated[float, Field(ge=0)] = 0.0
    cutmix: Annotated[float, Field(ge=0)] = 0.0
    cutmix_share: Share = 0.5

    @model_validator(mode="after")
    def _ranges_in_order(self) -> "Augmentation":
        for name, (low, high) in {"crop_scale": self.crop_scale, "crop_ratio": self.crop_ratio}.items():
            if low > high:
                raise ValueError(f"{name} must be (lowest, highest), not ({low}, {high})")
        return self

    @property
    def mixes(self) -> bool:
        """Whether items are mixed in pairs."""
        return self.mixup > 0 or self.cutmix > 0
