"""What an attack makes large: losses of logits, one an image, and their gradients by the pixels."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from tasks.ood.attacks.threat import Model, margins


def cross_entropy(logits: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"]) -> Float[Tensor, " batch"]:
    """-log of the label's probability."""
    return functional.cross_entropy(logits, labels, reduction="none")


def margin(logits: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"]) -> Float[Tensor, " batch"]:
    """The highest other logit less the label's: above zero where the image is taken for another class."""
    return -margins(logits, labels)


def dlr(logits: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"]) -> Float[Tensor, " batch"]:
    """Difference of logits ratio (Croce and Hein 2020, equation 6): the margin over z_1 - z_3, z sorted falling.

    It does not change with the logits' scale, so that saturated ones have a gradient too. Two classes have no third
    logit, and z_1 - z_2 would make it a constant: there it is the margin alone.
    """
    if logits.shape[1] < 3:
        return margin(logits, labels)
    highest = logits.topk(3, dim=1).values
    return margin(logits, labels) / (highest[:, 0] - highest[:, 2]).clamp_min(1e-12)


def targeted_dlr(
    logits: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"], targets: Int[Tensor, " batch"]
) -> Float[Tensor, " batch"]:
    """The same towards one class: (z_target - z_label) / (z_1 - (z_3 + z_4) / 2) (Croce and Hein 2020, equation 7).

    Of three classes z_1 - z_3 would make it a constant where the target is the last: with fewer than four there is no
    divisor.
    """
    lead = (logits.gather(1, targets[:, None]) - logits.gather(1, labels[:, None]))[:, 0]
    if logits.shape[1] < 4:
        return lead
    highest = logits.topk(4, dim=1).values
    return lead / (highest[:, 0] - highest[:, 2:].mean(1)).clamp_min(1e-12)


@dataclass(frozen=True)
class Aim:
    """A loss and what it needs to know of each image; ``targets`` where it leads towards one class."""

    loss: Callable[..., Tensor]
    labels: Int[Tensor, " batch"]
    targets: Int[Tensor, " batch"] | None = None

    def losses(self, logits: Float[Tensor, "batch classes"]) -> Float[Tensor, " batch"]:
        """One an image."""
        known = (self.labels,) if self.targets is None else (self.labels, self.targets)
        return self.loss(logits, *known)

    def at(self, rows: Tensor) -> "Aim":
        """Of some of the images: row numbers, or a truth for each."""
        return replace(self, labels=self.labels[rows], targets=None if self.targets is None else self.targets[rows])


def ascent(
    model: Model, pixels: Float[Tensor, "batch 3 height width"], aim: Aim
) -> tuple[Float[Tensor, "batch classes"], Float[Tensor, " batch"], Float[Tensor, "batch 3 height width"]]:
    """Logits, losses and the losses' gradients by the pixels; what is no number in a gradient counts as zero."""
    pixels = pixels.detach().requires_grad_(True)
    with torch.enable_grad():
        logits = model(pixels)
        losses = aim.losses(logits)
        (gradient,) = torch.autograd.grad(losses.sum(), pixels)
    return logits.detach(), losses.detach(), torch.nan_to_num(gradient, nan=0.0, posinf=0.0, neginf=0.0)
