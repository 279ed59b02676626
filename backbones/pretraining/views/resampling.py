"""Crop, antialiased bilinear resize and flip of many images at once, as two products with matrices of weights."""

import torch
from jaxtyping import Bool, Float, Int64, Num
from torch import Tensor


def resampled(
    images: Num[Tensor, "batch height channels width"],
    boxes: Int64[Tensor, "batch views 4"],
    flip: Bool[Tensor, "batch views"],
    size: int,
) -> Float[Tensor, "batch views channels size size"]:
    """What is in each box (top, left, height, width; pixels), ``size`` pixels a side, mirrored where ``flip`` says so.

    Within float rounding torchvision's ``resized_crop`` of float images, antialiased; pixels outside a box are never
    seen, and may be anything. Rows of pixels are (channel, column), so that neither product copies the images.
    """
    count, height, channels, width = images.shape
    views = boxes.shape[1]
    top, left, box_height, box_width = boxes.unbind(-1)
    rows = weights(top, box_height, torch.zeros_like(flip), height, size)
    columns = weights(left, box_width, flip, width, size)
    pixels = images.to(rows.dtype).view(count, height, channels * width)
    shorter = torch.bmm(rows.view(count, views * size, height), pixels)
    both = torch.bmm(shorter.view(count * views, size * channels, width), columns.flatten(0, 1).mT)
    return both.view(count, views, size, channels, size).transpose(2, 3)


def weights(
    start: Int64[Tensor, "batch views"],
    length: Int64[Tensor, "batch views"],
    flip: Bool[Tensor, "batch views"],
    source: int,
    size: int,
) -> Float[Tensor, "batch views size source"]:
    """Of each of ``source`` pixels in each of ``size``: a triangle about where the middle of the new pixel lies.

    Half the triangle's base is one new pixel where the image shrinks (that is the antialiasing), else one old pixel.
    """
    scale = length.float() / size
    target = torch.arange(size, device=start.device)
    target = torch.where(flip.unsqueeze(-1), size - 1 - target, target)
    centre = scale.unsqueeze(-1) * (target + 0.5)
    pixel = torch.arange(source, device=start.device) - start.unsqueeze(-1)
    distance = (pixel.unsqueeze(-2) + 0.5 - centre.unsqueeze(-1)).abs_()
    found = distance.div_(-scale.clamp(min=1)[..., None, None]).add_(1).clamp_(min=0)
    found.mul_(((pixel >= 0) & (pixel < length.unsqueeze(-1))).unsqueeze(-2))
    return found.div_(found.sum(-1, keepdim=True))
