"""What tells a teacher and student that collapse from ones that learn."""

import torch
from jaxtyping import Float
from torch import Tensor

from backbones.pretraining.losses.cross_entropy import between_views


def agreement(
    teacher: Float[Tensor, "batch views outputs"], student: Float[Tensor, "batch views outputs"]
) -> dict[str, float]:
    """Of a teacher's distributions and the logarithms of its student's, of the same views, in nats.

    ``teacher_entropy``: 0 where each is one output, ln K where each is uniform. ``teacher_information``: how much less
    that is than the entropy of their mean, which is what an output tells of its image: 0 where all are alike, collapsed
    either way. ``teacher_student_kl``: KL(teacher, student) between two views of an image.
    """
    entropy = _entropy(teacher).mean()
    return {
        "teacher_entropy": float(entropy),
        "teacher_information": float(_entropy(teacher.mean((0, 1))) - entropy),
        "teacher_student_kl": float(between_views(teacher, student).mean() - entropy),
    }


def _entropy(distributions: Float[Tensor, "*rows outputs"]) -> Float[Tensor, "*rows"]:
    terms: Tensor = torch.special.entr(distributions)
    return terms.sum(-1)
