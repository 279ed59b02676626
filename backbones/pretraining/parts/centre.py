"""A teacher's distributions as DINO makes them: less a centre, so that no single output wins everywhere, and sharp."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from backbones.pretraining.parts.gather import gathered


class Centre(nn.Module):
    """c <- m c + (1 - m) t once a step, t the mean of a teacher's outputs in the global batch; at first c = 0.

    In training mode it sees what it is given. A step that is undone forgets that, for it is kept in buffers.
    """

    mean: Float[Tensor, " outputs"]
    total: Float[Tensor, " outputs"]
    count: Float[Tensor, "1"]

    def __init__(self, outputs: int, momentum: float) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_buffer("mean", torch.zeros(outputs))
        self.register_buffer("total", torch.zeros(outputs))
        self.register_buffer("count", torch.zeros(1))

    @torch.no_grad()
    def forward(self, logits: Float[Tensor, "*rows outputs"], temperature: float) -> Float[Tensor, "*rows outputs"]:
        """softmax((t - c) / temperature) of a micro-batch's outputs; of no rows none."""
        if self.training:
            rows = logits.flatten(0, -2)
            self.total += rows.sum(0)
            self.count += len(rows)
        return ((logits - self.mean) / temperature).softmax(-1)

    @torch.no_grad()
    def update(self) -> None:
        """After the step: by what all micro-batches of all devices saw since the last; by nothing it stays."""
        together = gathered(torch.cat([self.total, self.count]).unsqueeze(0)).sum(0)
        total, count = together[:-1], together[-1:]
        self.mean.lerp_(torch.where(count > 0, total / count.clamp(min=1), self.mean), 1 - self.momentum)
        self.total.zero_()
        self.count.zero_()
