"""Inside a torchvision model: where its head begins, its stages, and what any module before the head gives."""

from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import Any

import torch
from timm.layers.pos_embed import resample_abs_pos_embed
from torch import Tensor, nn
from torch.func import functional_call
from torchvision import models

from backbones.adapters.maps import nearest_stride, pad_to, tokens_to_map


class _ReachedHeadError(Exception):
    """The head's input is known: the rest of the forward pass is not needed."""


def head_path(model: nn.Module) -> str:
    """The name of the last layer with weights."""
    layers: list[str] = [name for name, module in model.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    return layers[-1]


def head_of(model: nn.Module) -> nn.Module:
    """The last layer with weights."""
    return model.get_submodule(head_path(model))


def head_input(model: nn.Module, head: str, images: Tensor) -> Tensor:
    """What goes into the module at the path ``head``."""
    reached: list[Tensor] = []

    def stop(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        reached.append(inputs[0])
        raise _ReachedHeadError

    handle = model.get_submodule(head).register_forward_pre_hook(stop)
    try:
        model(images)
    except _ReachedHeadError:
        pass
    finally:
        handle.remove()
    return reached[-1]


def outputs(model: nn.Module, head: str, paths: Sequence[str], images: Tensor) -> dict[str, Tensor]:
    """What the modules at these paths give, in the order they ran; those that give no tensor are left out."""
    found: dict[str, Tensor] = {}

    def keep_as(path: str) -> Any:
        def keep(module: nn.Module, inputs: tuple[Tensor, ...], output: Any) -> None:
            if isinstance(output, Tensor):
                found[path] = output

        return keep

    handles = [model.get_submodule(path).register_forward_hook(keep_as(path)) for path in paths]
    try:
        head_input(model, head, images)
    finally:
        for handle in handles:
            handle.remove()
    return found


def maps(model: nn.Module, head: str, paths: Sequence[str], images: Tensor) -> dict[str, Tensor]:
    """Those of ``outputs`` that are maps, channels first."""
    found = {path: each for path, each in outputs(model, head, paths, images).items() if each.ndim == 4}
    if isinstance(model, models.SwinTransformer):
        return {path: each.permute(0, 3, 1, 2) for path, each in found.items()}
    return found


def transformer_map(model: models.VisionTransformer, images: Tensor) -> Tensor:
    """The output tokens of a vision transformer as a map, of images of any size, padded to whole patches.

    The model's own ``forward`` takes one size; here position embeddings are interpolated (bicubic, antialiased).
    """
    patches = model.conv_proj(pad_to(images, model.patch_size))
    grid, side = [patches.shape[2], patches.shape[3]], model.image_size // model.patch_size
    learnt = model.encoder.pos_embedding
    positions = resample_abs_pos_embed(learnt, new_size=grid, old_size=[side, side], num_prefix_tokens=1)
    tokens = torch.cat([model.class_token.expand(len(images), -1, -1), patches.flatten(2).transpose(1, 2)], dim=1)
    return tokens_to_map(functional_call(model.encoder, {"pos_embedding": positions}, (tokens,)), (grid[0], grid[1]))


def stages(model: nn.Module) -> list[str]:
    """Paths of the model's children, those of its containers in their place, up to the final norm or pooling."""
    found = takewhile(lambda each: not isinstance(each[1], nn.LayerNorm | nn.AdaptiveAvgPool2d), _unpacked(model))
    return [path for path, _ in found]


def last_of_strides(model: nn.Module, head: str, size: tuple[int, int]) -> list[str]:
    """Paths of the last stage of every stride, in order of depth, of images of ``size``.

    Found by a pass of shapes alone (torch's ``meta`` device): 30 ms for an EfficientNet-B0, whatever the weights.
    """
    shapes = {name: value.to("meta") for name, value in [*model.named_parameters(), *model.named_buffers()]}
    with torch.no_grad():
        found = functional_call(
            _Maps(model, head, stages(model)),
            {f"model.{name}": value for name, value in shapes.items()},
            torch.empty(1, 3, *size, device="meta"),
        )
    by_stride = {nearest_stride((each.shape[-2], each.shape[-1]), size): path for path, each in found.items()}
    return list(by_stride.values())


class _Maps(nn.Module):
    """``maps`` as a module, since only a module can be run with other parameters than its own."""

    def __init__(self, model: nn.Module, head: str, paths: Sequence[str]) -> None:
        super().__init__()
        self.model, self.head, self.paths = model, head, paths

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return maps(self.model, self.head, self.paths, images)


def _unpacked(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    for name, child in model.named_children():
        if isinstance(child, nn.Sequential | nn.ModuleList):
            yield from ((f"{name}.{inner}", each) for inner, each in child.named_children())
        else:
            yield name, child
