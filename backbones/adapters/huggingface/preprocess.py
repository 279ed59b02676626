"""What a repository's image processor does, in the contract's terms."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from backbones.base import Interpolation, Preprocess

INTERPOLATIONS: Mapping[int, Interpolation] = {0: "nearest", 2: "bilinear", 3: "bicubic"}
"""PIL's numbers for its filters, as processors name them."""


def preprocess_of(processor: Any, where: str) -> Preprocess:
    """The steps of a transformers image processor. Raises ``ValueError`` naming a step that BoB does not do.

    A processor that keeps the aspect of an image gives each its own size; a batch has one size, so its central square
    is taken (DPT, Depth Anything, SigLIP 2 NaFlex): the same as the library's for square images.
    """
    name = type(processor).__name__.removesuffix("Pil").removesuffix("Fast")
    if name not in RULES:
        raise ValueError(f"{where}: BoB does not know the steps of {name}; it knows: {', '.join(RULES)}")
    try:
        return RULES[name](processor)
    except ValueError as error:
        raise ValueError(f"{where}: {name} {error}") from None


def _plain(processor: Any) -> Preprocess:
    """Resize the shorter side and cut the centre, or resize to a given height and width."""
    size, crop = _sides(processor.size), _sides(processor.crop_size) if processor.do_center_crop else {}
    _refuse(bool(processor.do_pad), "pads its images")
    if "shortest_edge" in size and "longest_edge" not in size:
        side = size["shortest_edge"]
        target = (crop["height"], crop["width"]) if crop else (side, side)
        _refuse(max(target) > side, f"cuts {target} from images whose shorter side is {side}")
        return _build(processor, target, side, "center_floor")
    if not {"height", "width"} <= size.keys():
        raise ValueError(f"resizes to {size}, which BoB does not do")
    target = (size["height"], size["width"])
    _refuse(bool(crop) and (crop["height"], crop["width"]) != target, f"resizes to {target} and then cuts {crop}")
    return _build(processor, target, min(target), "squash")


def _convnext(processor: Any) -> Preprocess:
    """Below 384 pixels the shorter side becomes size / crop_pct and the centre is cut; above, the whole is squashed."""
    side = _sides(processor.size)["shortest_edge"]
    if side >= 384:
        return _build(processor, (side, side), side, "squash")
    return _build(processor, (side, side), int(side / processor.crop_pct), "center_floor")


def _segment_anything(processor: Any) -> Preprocess:
    """The longer side is resized, the rest filled up below and on the right after normalising."""
    target = _sides(processor.pad_size)
    _refuse(not processor.do_pad, "does not pad its images to one size")
    return _build(processor, (target["height"], target["width"]), _sides(processor.size)["longest_edge"], "pad")


def _dense_prediction(processor: Any) -> Preprocess:
    """Sides are rounded to a multiple; where the aspect is kept the shorter side is resized and the centre cut."""
    size = _sides(processor.size)
    multiple = processor.ensure_multiple_of
    target = (round(size["height"] / multiple) * multiple, round(size["width"] / multiple) * multiple)
    _refuse(bool(processor.do_pad), "pads its images to a multiple")
    if not processor.keep_aspect_ratio:
        return _build(processor, target, min(target), "squash")
    _refuse(target[0] != target[1], f"keeps the aspect within {target}, which is no square")
    return _build(processor, target, target[0], "center")


def _any_aspect(processor: Any) -> Preprocess:
    """As many patches as are allowed, in a square."""
    side = math.isqrt(processor.max_num_patches) * processor.patch_size
    return _build(processor, (side, side), side, "center")


RULES: Mapping[str, Callable[[Any], Preprocess]] = {
    "BeitImageProcessor": _plain,
    "BitImageProcessor": _plain,
    "CLIPImageProcessor": _plain,
    "ConvNextImageProcessor": _convnext,
    "DINOv3ViTImageProcessor": _plain,
    "DPTImageProcessor": _dense_prediction,
    "SamImageProcessor": _segment_anything,
    "Siglip2ImageProcessor": _any_aspect,
    "SiglipImageProcessor": _plain,
    "ViTImageProcessor": _plain,
}


def _build(processor: Any, size: tuple[int, int], resize: int, crop: Any) -> Preprocess:
    _refuse(not processor.do_resize, "does not resize its images, so that they have no one size")
    factor = processor.rescale_factor if processor.do_rescale else 1
    _refuse(not math.isclose(factor, 1 / 255, rel_tol=1e-3), f"scales images by {factor} instead of 1/255")
    resample = int(processor.resample)
    if resample not in INTERPOLATIONS:
        raise ValueError(f"resizes with PIL's filter {resample}; BoB does {', '.join(INTERPOLATIONS.values())}")
    mean, std = (processor.image_mean, processor.image_std) if processor.do_normalize else ((0.0,) * 3, (1.0,) * 3)
    return Preprocess(size, resize, crop, INTERPOLATIONS[resample], tuple(mean), tuple(std))


def _sides(size: Any) -> dict[str, int]:
    """The entries that are set; the library's own class lists the others as None."""
    return {name: value for name, value in dict(size).items() if value is not None}


def _refuse(wrong: bool, what: str) -> None:
    if wrong:
        raise ValueError(f"{what}, which BoB does not do")
