"""Tiny encoders and random views, for tests of methods."""

from collections.abc import Sequence
from typing import Any

import torch

from backbones.places import Places
from backbones.pretraining.catalogue import build_method
from backbones.pretraining.encoder import Encoder, encoder_over
from backbones.pretraining.fresh import fresh
from backbones.pretraining.method import Batch, Method, MethodSettings, Progress, View

PROGRESS = Progress(step=3, total=40, steps_an_epoch=8)
VIT = {"patch_size": 8, "img_size": 32, "embed_dim": 32, "depth": 3, "num_heads": 2}
"""16 patches of a ViT of 32 pixels."""


def tiny_encoder(kind: str = "cnn", seed: int = 0, **kwargs: Any) -> Encoder:
    """``cnn``: a small ResNet with BatchNorm for 32 pixels; ``vit``: a plain vision transformer of three blocks."""
    if kind == "vit":
        return encoder_over(fresh("timm:vit_tiny_patch16_224", {**VIT, **kwargs}, 32, seed, Places()))
    return encoder_over(fresh("timm:resnet10t", {"channels": (8, 8, 16, 16), **kwargs}, 32, seed, Places()))


def tiny_method(settings: MethodSettings, kind: str = "cnn", images: int = 64, seed: int = 0) -> Method:
    """Built over a tiny encoder, its heads drawn from ``seed``, in training mode."""
    encoder = tiny_encoder(kind, seed)
    torch.manual_seed(seed)
    return build_method(settings, encoder, images).train()


def random_view(images: int, size: int, generator: torch.Generator) -> View:
    """Noise, cut from a random quarter to the whole, half of it mirrored."""
    side = 0.5 + 0.5 * torch.rand(images, 1, generator=generator)
    corner = (1 - side) * torch.rand(images, 2, generator=generator)
    return View(
        torch.randn(images, 3, size, size, generator=generator),
        torch.cat([corner, side, side], dim=1),
        torch.rand(images, generator=generator) < 0.5,
    )


def random_batch(
    images: int = 8, sizes: Sequence[int] = (32, 32), seed: int = 0, progress: Progress = PROGRESS
) -> Batch:
    """A view of each size; rows 0, 1, ..."""
    generator = torch.Generator().manual_seed(seed)
    views = tuple(random_view(images, size, generator) for size in sizes)
    return Batch(views, torch.arange(images), progress)


def in_double(method: Method, batch: Batch) -> tuple[Method, Batch]:
    """Both in float64, for loops that are to agree to the last digits."""
    views = tuple(view._replace(images=view.images.double(), boxes=view.boxes.double()) for view in batch.views)
    return method.double(), batch._replace(views=views)


def updated(method: Method, batch: Batch, rate: float = 0.1) -> float:
    """One step of plain gradient descent with the method's hooks, as the loop makes it; the loss before it."""
    outputs = method.represent(batch)
    loss = method.loss(outputs, batch.progress)
    loss.backward()
    method.before_update(batch.progress)
    with torch.no_grad():
        for parameter in method.parameters():
            if parameter.grad is not None:
                parameter -= rate * parameter.grad
                parameter.grad = None
        method.after_update(batch.progress)
    return float(loss)
