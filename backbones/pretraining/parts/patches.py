"""Images as rows of patches, each with its pixels in a row, and back; patches picked by number."""

import torch
from jaxtyping import Bool, Float, Int64, Shaped
from torch import Tensor
from torch.nn.functional import layer_norm


def patchify(
    images: Float[Tensor, "batch channels height width"], patch: int
) -> Float[Tensor, "batch patches patch_pixels"]:
    """Patches of ``patch`` pixels a side, row by row; of each its pixels row by row, a pixel's channels together."""
    batch, channels, height, width = images.shape
    cut = images.reshape(batch, channels, height // patch, patch, width // patch, patch)
    return cut.permute(0, 2, 4, 3, 5, 1).reshape(batch, -1, patch * patch * channels)


def unpatchify(
    patches: Float[Tensor, "batch patches patch_pixels"], patch: int, grid: tuple[int, int]
) -> Float[Tensor, "batch channels height width"]:
    """The images whose patches these are, ``grid`` of them down and across."""
    batch, (rows, columns) = len(patches), grid
    cut = patches.reshape(batch, rows, columns, patch, patch, -1).permute(0, 5, 1, 3, 2, 4)
    return cut.reshape(batch, -1, rows * patch, columns * patch)


def standardised(patches: Float[Tensor, "batch patches dim"]) -> Float[Tensor, "batch patches dim"]:
    """Each row less its mean and over its standard deviation (with Bessel's correction, as MAE's code has it)."""
    variance, mean = torch.var_mean(patches, dim=-1, keepdim=True)
    return (patches - mean) / (variance + 1e-6).sqrt()


def plain_layer_norm(tokens: Float[Tensor, "batch patches dim"]) -> Float[Tensor, "batch patches dim"]:
    """LayerNorm without scale and shift, in float32: how I-JEPA and data2vec bring targets to one scale."""
    return layer_norm(tokens.float(), tokens.shape[-1:])


def taken(
    tokens: Shaped[Tensor, "batch patches dim"], at: Int64[Tensor, "batch picked"]
) -> Shaped[Tensor, "batch picked dim"]:
    """The rows numbered by ``at``, each image its own."""
    return tokens.gather(1, at.unsqueeze(-1).expand(-1, -1, tokens.shape[-1]))


def numbers_of(masks: Bool[Tensor, "batch patches"]) -> Int64[Tensor, "batch marked"]:
    """The numbers of marked patches, rising; of every image as many are marked."""
    return masks.nonzero()[:, 1].view(len(masks), -1)
