"""A backbone with a fresh linear head, and its objective: what fine-tuning trains."""

from abc import ABC, abstractmethod

from jaxtyping import Float, Float32
from torch import Tensor, nn

from backbones.base import Backbone
from backbones.training.images_stream import ImageBatch
from backbones.training.trainee import Trainee
from tasks.classification.objectives import Objective
from tasks.trunk import BatchNorm, Trunk


class Network(nn.Module):
    """Images to the objective's outputs, through ``embed`` and a linear layer that starts at zero."""

    def __init__(self, trunk: Trunk, outputs: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.head = nn.Linear(trunk.dim(), outputs)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch outputs"]:
        """Logits, or whatever the objective takes."""
        outputs: Tensor = self.head(self.trunk.embed(images))
        return outputs

    def layers(self) -> list[tuple[str, list[nn.Parameter]]]:
        """The backbone's by depth, then the head."""
        return [*self.trunk.layers(), ("head", list(self.head.parameters()))]


class Answering(Trainee, ABC):
    """A trainee that is judged by what a network of it answers images with."""

    @property
    @abstractmethod
    def judged(self) -> nn.Module:
        """That network."""


class TunedNetwork(Answering):
    """The network and its objective. ``has_drop_path`` says whether the architecture has a place for it."""

    def __init__(self, backbone: Backbone, objective: Objective, drop_path: float, batch_norm: BatchNorm) -> None:
        super().__init__()
        trunk = Trunk(backbone, "end-to-end", drop_path, batch_norm)
        self.has_drop_path = trunk.has_drop_path
        self.network = Network(trunk, objective.outputs)
        self.objective = objective

    def forward(self, batch: ImageBatch) -> Float32[Tensor, ""]:
        """The objective's mean loss."""
        return self.objective.loss(self.network(batch.images), self.objective.soft(batch.targets))

    def layers(self) -> list[tuple[str, list[nn.Parameter]]]:
        """The network's."""
        return self.network.layers()

    @property
    def judged(self) -> nn.Module:
        """What is trained."""
        return self.network

    def recompute(self) -> None:
        """Activations of the backbone's blocks are computed again in the backward pass; see :meth:`Trunk.recompute`."""
        self.network.trunk.recompute()
