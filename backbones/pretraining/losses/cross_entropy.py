"""Cross-entropies between a teacher's distributions over outputs and a student's.

p_t: the teacher's distributions; log p_s: logarithms of the student's. CE(t, s) = - sum over k of p_t,k log p_s,k.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def between_views(
    teacher: Float[Tensor, "batch globals outputs"], student: Float[Tensor, "batch views outputs"]
) -> Float[Tensor, " batch"]:
    """DINO's: the mean over pairs of a teacher's view and another of the student's, CE(p_t(g), log p_s(v)), v != g.

    The student's first views are the teacher's.
    """
    pairs = -torch.einsum("bgk,bvk->bgv", teacher, student)
    count, views = pairs.shape[1:]
    same = torch.eye(count, views, dtype=torch.bool, device=pairs.device)
    return pairs.masked_fill(same, 0).sum((1, 2)) / (count * (views - 1))


def of_masked_patches(
    teacher: Float[Tensor, "masked outputs"],
    student: Float[Tensor, "masked outputs"],
    masks: Bool[Tensor, "batch views patches"],
) -> Float[Tensor, " batch"]:
    """iBOT's: of each view the mean CE over its masked patches, 0 where it has none; then the mean over views.

    Rows are the patches that ``masks`` marks, in its order: image by image, view by view.
    """
    each = -(teacher * student).sum(1)
    placed = torch.zeros(masks.shape, dtype=each.dtype, device=each.device).masked_scatter(masks, each)
    return (placed.sum(2) / masks.sum(2).clamp(min=1)).mean(1)
