"""A teacher's distributions as DINOv2 can make them: balanced over a global batch, in the place of a centre."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from backbones.pretraining.parts.sinkhorn import sinkhorn

ITERATIONS = 3


class Balance(nn.Module):
    """Sinkhorn's; it remembers nothing. In training mode all devices have to call it together."""

    @torch.no_grad()
    def forward(self, logits: Float[Tensor, "*rows outputs"], temperature: float) -> Float[Tensor, "*rows outputs"]:
        """Of a device's share of the global batch; of no rows none."""
        balanced = sinkhorn(logits.flatten(0, -2), temperature, ITERATIONS, shared=self.training)
        return balanced.view_as(logits)

    def update(self) -> None:
        """Nothing moves."""
        return
