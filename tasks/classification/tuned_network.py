"""A backbone with a fresh linear head, and its objective: what fine-tuning trains."""

import copy

import torch
from jaxtyping import Float, Float32
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from backbones.base import Backbone
from backbones.training.drop_path import set_drop_path
from backbones.training.images_stream import ImageBatch
from backbones.training.trainee import Trainee
from tasks.classification.chosen import BatchNorm
from tasks.classification.objectives import Objective

SWITCH = "set_grad_checkpointing"
"""What timm's and open_clip's models call it."""


class Network(nn.Module):
    """Images to the objective's outputs, through ``embed`` and a linear layer that starts at zero."""

    def __init__(self, backbone: Backbone, outputs: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = nn.Linear(_dim(backbone), outputs)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch outputs"]:
        """Logits, or whatever the objective takes."""
        outputs: Tensor = self.head(self.backbone.embed(images))
        return outputs


class TunedNetwork(Trainee):
    """A copy of the backbone, so that the one every other task uses stays as it was loaded.

    What is not in its ``layers()`` (a text side, the checkpoint's own classifier) stays frozen. ``has_drop_path`` says
    whether the architecture has a place for it. With ``batch_norm="frozen"`` BatchNorm normalises by the statistics it
    was loaded with, as in evaluation, while its scale and shift are trained: no image sees its neighbours in the batch.
    """

    def __init__(self, backbone: Backbone, objective: Objective, drop_path: float, batch_norm: BatchNorm) -> None:
        super().__init__()
        trained = copy.deepcopy(backbone)
        for parameter in trained.parameters():
            parameter.requires_grad_(False)
        for _, parameters in trained.layers():
            for parameter in parameters:
                parameter.requires_grad_(True)
        self.has_drop_path = bool(set_drop_path(trained, drop_path)) if drop_path > 0 else True
        self.network = Network(trained, objective.outputs)
        self.objective = objective
        norms = [module for module in trained.modules() if isinstance(module, _BatchNorm)]
        self._moving_norms = norms if batch_norm == "batch" else []
        self._still_norms = norms if batch_norm == "frozen" else []

    def train(self, mode: bool = True) -> "TunedNetwork":
        """Training mode for all but BatchNorm whose statistics are frozen."""
        super().train(mode)
        for module in self._still_norms:
            module.eval()
        return self

    def forward(self, batch: ImageBatch) -> Float32[Tensor, ""]:
        """The objective's mean loss."""
        return self.objective.loss(self.network(batch.images), self.objective.soft(batch.targets))

    def layers(self) -> list[tuple[str, list[nn.Parameter]]]:
        """The backbone's by depth, then the head."""
        return [*self.network.backbone.layers(), ("head", list(self.network.head.parameters()))]

    def recompute(self) -> None:
        """Activations of timm's and open_clip's blocks are computed again in the backward pass.

        Raises ``ValueError`` for other architectures, and where statistics of BatchNorm move: they would do so twice.
        """
        switches = [getattr(module, SWITCH, None) for module in self.network.backbone.modules()]
        callable_ones = [switch for switch in switches if callable(switch)]
        name = self.network.backbone.card.name
        if not callable_ones:
            raise ValueError(f"gradient_checkpointing: no module of {name} has {SWITCH}(); lower device_batch instead")
        if self._moving_norms:
            raise ValueError(
                f"gradient_checkpointing: {name} has BatchNorm, which would see each batch twice; set batch_norm: "
                "frozen, or lower device_batch instead"
            )
        for switch in callable_ones:
            switch(True)


def _dim(backbone: Backbone) -> int:
    """Of the embedding, found with one blank image in evaluation mode, so that no statistic of BatchNorm moves."""
    backbone.eval()
    device = next(backbone.parameters()).device
    with torch.no_grad():
        return int(backbone.embed(torch.zeros(1, 3, *backbone.preprocess.size, device=device)).shape[1])
