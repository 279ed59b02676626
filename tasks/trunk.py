"""A backbone under a head that is trained: a copy of it, frozen or trained with the head."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from backbones.base import Backbone
from backbones.training.drop_path import set_drop_path
from backbones.windowed_attention import attend_in_windows

Train = Literal["frozen", "end-to-end"]
BatchNorm = Literal["frozen", "batch"]
"""What BatchNorm normalises by while it is trained: the statistics it was loaded with, or each batch's."""

ANOTHER_SIZE = (160, 128)
"""(height, width) of the blank image that tells whether an architecture takes images of any size."""

SWITCH = "set_grad_checkpointing"
"""What timm's and open_clip's models call it."""


class Trunk(nn.Module):
    """A copy, so that the backbone every other task uses stays as it was loaded.

    ``frozen``: evaluation mode and no gradients, whatever is trained above it. ``end-to-end``: what is in ``layers()``
    is trained; the rest (a text side, the checkpoint's own classifier) stays frozen. With ``batch_norm="frozen"``
    BatchNorm normalises by the statistics it was loaded with, as in evaluation, while its scale and shift are trained:
    no image sees its neighbours in the batch. ``has_drop_path`` says whether the architecture has a place for it.
    ``window``: all blocks of a plain vision transformer but four attend in windows of that many patches a side
    (``backbones.windowed_attention``; ``ValueError`` for other architectures).
    """

    def __init__(
        self,
        backbone: Backbone,
        train: Train = "end-to-end",
        drop_path: float = 0.0,
        batch_norm: BatchNorm = "frozen",
        window: int | None = None,
    ) -> None:
        super().__init__()
        self.backbone = copy.deepcopy(backbone)
        if window is not None:
            attend_in_windows(self.backbone, window)
        self.frozen = train == "frozen"
        for parameter in self.backbone.parameters():
            parameter.requires_grad_(False)
        for _, parameters in self.layers():
            for parameter in parameters:
                parameter.requires_grad_(True)
        drops = drop_path > 0 and not self.frozen
        self.has_drop_path = bool(set_drop_path(self.backbone, drop_path)) if drops else True
        norms = [module for module in self.backbone.modules() if isinstance(module, _BatchNorm)]
        self._moving_norms = norms if batch_norm == "batch" and not self.frozen else []
        self._still_norms = norms if batch_norm == "frozen" else []
        if self.frozen:
            self.train(False)

    def embed(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch dim"]:
        """The backbone's pooled vectors."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            return self.backbone.embed(images)

    def maps(
        self, images: Float[Tensor, "batch 3 height width"]
    ) -> dict[int, Float[Tensor, "batch channels map_height map_width"]]:
        """The backbone's dense features by stride, fine to coarse. Raises ``NotImplementedError`` where it has none."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            found = self.backbone.feature_maps(images)
        return {stride: found[stride] for stride in sorted(found)}

    def channels(self) -> dict[int, int]:
        """Channels of each map by stride, found with one blank image in evaluation mode."""
        with _evaluating(self) as blank:
            return {stride: int(features.shape[1]) for stride, features in self.maps(blank).items()}

    def dim(self) -> int:
        """Of the embedding, found likewise."""
        with _evaluating(self) as blank:
            return int(self.backbone.embed(blank).shape[1])

    def layers(self) -> list[tuple[str, list[nn.Parameter]]]:
        """What is trained, by depth: nothing where frozen."""
        return [] if self.frozen else self.backbone.layers()

    def train(self, mode: bool = True) -> "Trunk":
        """Training mode, but for what is frozen."""
        super().train(mode and not self.frozen)
        for module in self._still_norms:
            module.eval()
        return self

    def recompute(self) -> None:
        """Activations of timm's and open_clip's blocks are computed again in the backward pass.

        Raises ``ValueError`` for other architectures, and where statistics of BatchNorm move: they would do so twice.
        """
        if self.frozen:
            return
        switches = [getattr(module, SWITCH, None) for module in self.backbone.modules()]
        callable_ones = [switch for switch in switches if callable(switch)]
        name = self.backbone.card.name
        if not callable_ones:
            raise ValueError(f"gradient_checkpointing: no module of {name} has {SWITCH}(); lower device_batch instead")
        if self._moving_norms:
            raise ValueError(
                f"gradient_checkpointing: {name} has BatchNorm, which would see each batch twice; set batch_norm: "
                "frozen, or lower device_batch instead"
            )
        for switch in callable_ones:
            switch(True)


def maps_refusal(backbone: Backbone, square: int | None = None) -> str | None:
    """Why a task that needs dense features of images of any size cannot be put to this backbone; None where it can.

    With ``square``, where images are padded to that side, a backbone that takes this size alone can too.
    """
    refused = _refusal_at(ANOTHER_SIZE, backbone)
    return refused if refused is None or square is None else _refusal_at((square, square), backbone)


def _refusal_at(size: tuple[int, int], backbone: Backbone) -> str | None:
    try:
        with torch.no_grad():
            found = copy.deepcopy(backbone).eval().feature_maps(_blank(backbone, size))
    except NotImplementedError:
        found = {}
    except ValueError as error:
        return f"backbone {backbone.card.name!r} gives no dense features of images of any size: {error}"
    return None if found else f"backbone {backbone.card.name!r} gives no dense features (feature_maps)"


def rest_unused(trunk: Trunk) -> None:
    """What no map depends on (a classifier's last convolution or norm) is not trained, found with one blank image.

    It would have no gradient in any step, and processes that train together wait for every gradient.
    """
    trained = [each for _, parameters in trunk.layers() for each in parameters if each.requires_grad]
    if not trained:
        return
    with _evaluating(trunk) as blank, torch.enable_grad():
        total = torch.stack([features.float().sum() for features in trunk.maps(blank).values()]).sum()
    for parameter, gradient in zip(trained, torch.autograd.grad(total, trained, allow_unused=True), strict=True):
        parameter.requires_grad_(gradient is not None)


def _blank(backbone: Backbone, size: tuple[int, int] | None = None) -> Tensor:
    """One black image, of the size the backbone was made for where none is given, on its device."""
    device = next((parameter.device for parameter in backbone.parameters()), torch.device("cpu"))
    return torch.zeros(1, 3, *(size or backbone.preprocess.size), device=device)


@contextmanager
def _evaluating(trunk: Trunk) -> Iterator[Tensor]:
    """Evaluation mode and no gradients for a look at one blank image; the modes of before afterwards."""
    modes = [(module, module.training) for module in trunk.modules()]
    trunk.eval()
    try:
        with torch.no_grad():
            yield _blank(trunk.backbone)
    finally:
        for module, training in modes:
            module.training = training
