"""Other places to read a torchvision model than its classifier's input: blocks' tokens, or stages' maps."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torchvision import models

from backbones.adapters import readout_names
from backbones.adapters.torchvision_trunk import last_of_strides, maps, outputs


def paths(model: nn.Module, head: str, size: tuple[int, int]) -> list[str]:
    """Where the model can be read, in order of depth: a transformer's blocks, else the last stage of every stride."""
    if isinstance(model, models.VisionTransformer):
        return [f"encoder.layers.{name}" for name, _ in model.encoder.layers.named_children()]
    return last_of_strides(model, head, size)


def readouts(model: nn.Module, paths: Sequence[str]) -> tuple[str, ...]:
    """Names, the most promising first: ``blockN/cls`` and others of a transformer's blocks, or ``stageN/mean``."""
    if isinstance(model, models.VisionTransformer):
        return readout_names.of_blocks(len(paths), has_cls=True)
    return readout_names.of_stages(len(paths))


def read(
    model: nn.Module, head: str, paths: Sequence[str], images: Float[Tensor, "batch 3 height width"], readout: str
) -> Float[Tensor, "batch dim"]:
    """One vector an image, for one of ``readouts``; tokens after the final norm, maps as they are."""
    chosen, poolings = readout_names.places(readout, len(paths))
    wanted = [paths[place] for place in chosen]
    if not isinstance(model, models.VisionTransformer):
        return maps(model, head, wanted, images)[wanted[0]].mean((2, 3))
    found = outputs(model, head, wanted, images)
    blocks = [model.encoder.ln(found[path]) for path in wanted]
    # The class token comes first.
    vectors = [each[:, 0] if pooling == "cls" else each[:, 1:].mean(1) for each in blocks for pooling in poolings]
    return torch.cat(vectors, 1)
