"""How views are made: the settings alone, and the sets of them that papers share."""

from typing import Annotated, Any

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

Share = Annotated[float, Field(ge=0, le=1)]
Strength = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class ViewGroup:
    """``count`` views made alike, each image with draws of its own. In this order; the defaults are SimCLR's crop.

    - A crop of ``crop_scale`` of the area and an aspect (width over height) in ``crop_ratio``, resized (bilinear,
      antialiased) to ``size`` pixels a side, None for the encoder's; then, by ``flip``, mirrored.
    - With probability ``jitter`` brightness, contrast and saturation by 1 +- theirs and hue by +- its share of the
      colour circle, in random order.
    - With probability ``grey`` without colour.
    - With probability ``blur`` a Gaussian blur of a sigma in ``blur_sigma``, in pixels of a view of 224: it shrinks
      with ``size``, as does the kernel of 23 pixels.
    - With probability ``solarise`` every value above one half inverted.

    Normalisation is the encoder's.
    """

    count: int = Field(default=1, ge=1)
    size: int | None = Field(default=None, ge=1)
    crop_scale: tuple[Annotated[float, Field(gt=0, le=1)], Annotated[float, Field(gt=0, le=1)]] = (0.08, 1.0)
    crop_ratio: tuple[Positive, Positive] = (3 / 4, 4 / 3)
    flip: Share = 0.5
    jitter: Share = 0.0
    brightness: Strength = 0.0
    contrast: Strength = 0.0
    saturation: Strength = 0.0
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    grey: Share = 0.0
    blur: Share = 0.0
    blur_sigma: tuple[Positive, Positive] = (0.1, 2.0)
    solarise: Share = 0.0

    @model_validator(mode="after")
    def _ranges_in_order(self) -> "ViewGroup":
        for name in ("crop_scale", "crop_ratio", "blur_sigma"):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"{name} must be (lowest, highest), not ({low}, {high})")
        return self


def colour(strength: float = 1.0, saturation: float = 0.8) -> dict[str, Any]:
    """SimCLR's colour distortion as fields of a group: jitter with probability 0.8, grey with 0.2.

    ``strength`` 1 is brightness and contrast 0.8 and hue 0.2; ``saturation`` is multiplied likewise.
    """
    return {
        "jitter": 0.8,
        "brightness": 0.8 * strength,
        "contrast": 0.8 * strength,
        "saturation": saturation * strength,
        "hue": 0.2 * strength,
        "grey": 0.2,
    }


CROP_AND_FLIP = (ViewGroup(),)
"""One view, of MAE (whose crop is 0.2 to 1 of the area at ImageNet's size) and other masked methods."""
SYMMETRIC = (ViewGroup(count=2, blur=0.5, **colour()),)
"""SimCLR's two views, SwAV's and DeepCluster-v2's."""
SYMMETRIC_WEAK = (ViewGroup(count=2, blur=0.5, **colour(0.5)),)
"""Those of MoCo v2 and SimSiam."""
ASYMMETRIC = (
    ViewGroup(blur=1.0, **colour(0.5, 0.4)),
    ViewGroup(blur=0.1, solarise=0.2, **colour(0.5, 0.4)),
)
"""BYOL's two, also of MoCo v3, NNCLR, Barlow Twins and DINO's global crops at ImageNet's size."""
ASYMMETRIC_SMALL = (ViewGroup(**colour(0.5, 0.4)), ViewGroup(solarise=0.2, **colour(0.5, 0.4)))
"""The same for images of 32 pixels: no blur."""
