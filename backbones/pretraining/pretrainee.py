"""A method as the loop trains it: outputs of all devices together where the loss compares images, losses in float32."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from backbones.pretraining.method import Batch, Method, Progress
from backbones.pretraining.parts.gather import gathered
from backbones.training.trainee import Trainee


class Pretrainee(Trainee):
    """``progress`` is that of the last forward pass."""

    def __init__(self, method: Method) -> None:
        super().__init__()
        self.method = method
        self.whole_batch = method.whole_batch
        self.progress = Progress(0, 1, 1)

    def forward(self, batch: Batch) -> Float[Tensor, ""]:
        """The loss; with ``whole_batch`` that of the global batch, the same on every device."""
        self.progress = batch.progress
        outputs = self.method.represent(batch)
        with torch.autocast(batch.rows.device.type, enabled=False):
            single = {name: value.float() if value.is_floating_point() else value for name, value in outputs.items()}
            if self.whole_batch:
                single = {name: gathered(value) for name, value in single.items()}
            return self.method.loss(single, batch.progress)

    def layers(self) -> list[tuple[str, list[nn.Parameter]]]:
        """The encoder's by depth, then all else that is trained."""
        below = self.method.encoder.layers()
        known = {id(parameter) for _, parameters in below for parameter in parameters}
        heads = [each for each in self.method.parameters() if id(each) not in known and each.requires_grad]
        return [*below, ("heads", heads)] if heads else below

    def steady(self) -> list[nn.Parameter]:
        """The method's."""
        return self.method.steady()

    def before_update(self) -> None:
        """The method's."""
        self.method.before_update(self.progress)

    @torch.no_grad()
    def after_update(self) -> None:
        """The method's."""
        self.method.after_update(self.progress)
