"""A classifier of pixels in [0, 1]: the declared normalisation, a frozen backbone, a linear head. Differentiable.

Pixels are those after the backbone's own resize and crop, as RobustBench has it: a budget is a change of what the
network is shown, not of the file.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from backbones.base import Backbone, freeze
from backbones.inference import Layer, call_of
from tasks.classification.probe import Probe

Head = Callable[[Tensor], Tensor]
"""Features (batch, dim) to logits."""


class PixelModel(nn.Module):
    """``layer`` of the backbone, then ``head`` (features to logits)."""

    def __init__(self, backbone: Backbone, layer: Layer, head: Head, device: torch.device) -> None:
        super().__init__()
        self.backbone = freeze(backbone).to(device)
        self._features, self._head = call_of(self.backbone, layer), head
        mean, std = (torch.tensor(each).view(3, 1, 1) for each in (backbone.preprocess.mean, backbone.preprocess.std))
        self.mean, self.std = mean.to(device), std.to(device)

    def forward(self, pixels: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch classes"]:
        """Logits."""
        return self._head(self._features((pixels - self.mean) / self.std))


def probe_head(probe: Probe, device: torch.device) -> Head:
    """A probe as a function of features that has gradients."""
    scaling, solution = probe.scaling, probe.solution
    mean, factor = (torch.from_numpy(each).to(device) for each in (scaling.mean, scaling.factor))
    weights, intercepts = solution.weights[0].to(device), solution.intercepts[0].to(device)
    return lambda features: ((features.float() - mean) * factor) @ weights.T + intercepts


def gradient_refusal(model: PixelModel) -> str | None:
    """Why there is nothing to climb: logits of one random image that have no gradient by its pixels, or zero."""
    name, size = model.backbone.card.name, model.backbone.preprocess.size
    drawn = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0))
    pixels = drawn.to(model.mean.device).requires_grad_(True)
    attacked = "it cannot be attacked by gradients, and what other attacks leave would say little"
    with torch.enable_grad():
        try:
            logits = model(pixels)
            # Random weights: a sum over classes is the same whatever the image, where weights sum to zero over them.
            weights = torch.randn(logits.shape, generator=torch.Generator().manual_seed(0)).to(logits)
            (gradient,) = torch.autograd.grad((logits * weights).sum(), pixels)
        except RuntimeError as error:
            return f"{name} has no gradient by its pixels ({str(error).splitlines()[0]}); {attacked}"
    if not bool(torch.isfinite(gradient).all()):
        return f"{name} has a gradient by its pixels that is NaN or infinite; {attacked}"
    if not bool((gradient != 0).any()):
        return f"{name} has a gradient by its pixels that is zero everywhere; {attacked}"
    return None
