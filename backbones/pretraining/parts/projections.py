"""A method that is no more than a loss of two views' projections."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from backbones.pretraining.encoder import Encoder
from backbones.pretraining.method import Batch, Method, Outputs, Progress
from backbones.pretraining.parts.embedding import embedded
from backbones.pretraining.parts.mlp import mlp


class Projections(Method):
    """``objective`` of the two views' unit vectors; ``widths`` are the projector's after the encoder's."""

    whole_batch = True

    def __init__(self, encoder: Encoder, widths: Sequence[int], objective: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__(encoder)
        self.objective = objective
        self.projector = mlp((encoder.dim, *widths), last_norm=True)

    def represent(self, batch: Batch) -> Outputs:
        """z of both views, not yet of unit length."""
        both = embedded(self.encoder, batch.views, together=True)
        projected = self.projector(torch.cat(both)).chunk(2)
        return {"z": torch.stack(projected, dim=1)}

    def loss(self, outputs: Outputs, progress: Progress) -> Float[Tensor, ""]:
        """The objective's."""
        first, second = normalize(outputs["z"], dim=-1).unbind(1)
        return self.objective(first, second)
