"""Reading the image tower of a transformers model: pooled vectors, maps, and the tokens of any block."""

import inspect
import math
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from itertools import groupby
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from backbones.adapters.huggingface.kinds import Kind, depth_of
from backbones.adapters.maps import Map, deepest_by_stride, fit_to_stride, tokens_to_map
from backbones.plugins import unknown

Images = Float[Tensor, "batch 3 height width"]


def run(tower: nn.Module, kind: Kind, images: Images, whole: nn.Module | None = None) -> Any:
    """The forward pass of the tower, or of the whole model around it; position embeddings are interpolated."""
    called = whole or tower
    _check_size(tower, kind, images)
    with _restored(watched_blocks(tower, kind)):
        return called(**INPUTS[kind.inputs](called, images))


def pooled(tower: nn.Module, kind: Kind, images: Images) -> Float[Tensor, "batch dim"]:
    """One vector an image, by the kind's rule; before any projection."""
    output = run(tower, kind, images)
    states: Tensor = output.last_hidden_state
    if kind.pooled == "map":
        return states.mean((2, 3))
    if kind.pooled == "cls":
        return states[:, 0]
    if kind.pooled == "mean" or output.pooler_output is None:
        return _patches(states, tower, images).mean(1)
    vectors: Tensor = output.pooler_output
    return vectors.flatten(1)


def maps(tower: nn.Module, kind: Kind, images: Images) -> dict[int, Map]:
    """The last map of every stride among the stages, or the tower's output tokens as the one map."""
    size = (images.shape[-2], images.shape[-1])
    if kind.layout == "stages":
        return deepest_by_stride(iter(_stage_maps(tower, kind, images)), size)
    output, stride = run(tower, kind, images).last_hidden_state, patch_size(tower)
    found = output if output.ndim == 4 else tokens_to_map(output, _grid(tower, images))
    return {stride: fit_to_stride(found, stride, size)}


def readouts(tower: nn.Module, kind: Kind) -> tuple[str, ...]:
    """Names of other places to read, most promising first: the end of the tower, then deep to shallow."""
    blocks = len(watched(tower, kind))
    if kind.layout == "stages":
        return tuple(f"stage{stage}/mean" for stage in reversed(range(blocks)))
    poolings = ("mean", "cls") if kind.has_cls else ("mean",)
    both = ("cls+mean",) if kind.has_cls else ()
    last = [f"block{blocks - 1}/{pooling}" for pooling in both]
    several = [f"last{min(4, blocks)}/{pooling}" for pooling in reversed(poolings)]
    deep_first = [f"block{block}/{pooling}" for block in reversed(range(blocks)) for pooling in poolings]
    return (*last, *several, *deep_first)


def read(tower: nn.Module, kind: Kind, images: Images, readout: str) -> Float[Tensor, "batch dim"]:
    """``blockN/POOLING`` after the final norm, ``lastN/POOLING`` those of the last N blocks one after the other."""
    if readout not in readouts(tower, kind):
        raise unknown("readout", readout, readouts(tower, kind))
    where, _, pooling = readout.partition("/")
    number = int(re.sub(r"\D", "", where))
    if kind.layout == "stages":
        return _stage_maps(tower, kind, images)[number].mean((2, 3))
    blocks = _outputs(tower, kind, images)
    chosen = blocks[-number:] if where.startswith("last") else [blocks[number]]
    vectors = [
        _pool(_normed(tower, kind, block), tower, images, part) for block in chosen for part in pooling.split("+")
    ]
    return torch.cat(vectors, 1)


def layers(tower: nn.Module, kind: Kind) -> list[tuple[str, list[nn.Parameter]]]:
    """One group a block, in the order they are registered, which is that of use."""
    named = [(depth_of(name, kind.layout), parameter) for name, parameter in tower.named_parameters()]
    runs = [(name, [parameter for _, parameter in run]) for name, run in groupby(named, key=lambda each: each[0])]
    return [(f"{depth} {name}", parameters) for depth, (name, parameters) in enumerate(runs)]


def watched(tower: nn.Module, kind: Kind) -> list[nn.Module]:
    """The modules whose outputs are the blocks' or the stages' (before they are downsampled)."""
    blocks: Any = tower.get_submodule(kind.blocks)
    return [getattr(stage, kind.inner)[-1] for stage in blocks] if kind.inner else list(blocks)


def watched_blocks(tower: nn.Module, kind: Kind) -> list[nn.Module]:
    """Every block of a tower whose stages list theirs; none of another."""
    if not kind.inner:
        return []
    stages: Any = tower.get_submodule(kind.blocks)
    return [block for stage in stages for block in getattr(stage, kind.inner)]


@contextmanager
def _restored(blocks: list[nn.Module]) -> Iterator[None]:
    """The library's Swin shrinks its windows for good when it meets a small image: undo that after each pass."""
    before = [(block, block.window_size, block.shift_size) for block in blocks]
    try:
        yield
    finally:
        for block, window_size, shift_size in before:
            block.window_size, block.shift_size = window_size, shift_size


def patch_size(tower: nn.Module) -> int:
    """Side of a patch in pixels."""
    side: Any = tower.config.patch_size  # type: ignore[union-attr]
    return int(side if isinstance(side, int) else side[0])


def _image(tower: nn.Module, images: Tensor) -> dict[str, Any]:
    return {
        "pixel_values": images,
        **({"interpolate_pos_encoding": True} if _interpolates(type(tower).forward) else {}),
    }


@cache
def _interpolates(forward: Callable[..., Any]) -> bool:
    """Kept: looking at a signature takes as long as a small layer (measured: 20 to 40 us)."""
    return "interpolate_pos_encoding" in inspect.signature(forward).parameters


def _unshuffled(tower: nn.Module, images: Tensor) -> dict[str, Any]:
    """MAE keeps the patches of the least noise, in its order: rising noise keeps all of them in their own order."""
    rows, columns = _grid(tower, images)
    rising = torch.arange(rows * columns, device=images.device).expand(len(images), -1)
    return {**_image(tower, images), "noise": rising}


def _flattened(tower: nn.Module, images: Tensor) -> dict[str, Any]:
    """Each patch as one row of its pixels, channels innermost; what is beyond the last whole patch is not looked at."""
    side, (rows, columns) = patch_size(tower), _grid(tower, images)
    whole = images[:, :, : rows * side, : columns * side]
    patches = whole.unfold(2, side, side).unfold(3, side, side).permute(0, 2, 3, 4, 5, 1).flatten(3).flatten(1, 2)
    shape = torch.tensor([rows, columns], device=images.device).expand(len(images), -1)
    seen = torch.ones(patches.shape[:2], dtype=torch.int32, device=images.device)
    return {"pixel_values": patches, "pixel_attention_mask": seen, "spatial_shapes": shape}


INPUTS: Mapping[str, Callable[[nn.Module, Tensor], dict[str, Any]]] = {
    "image": _image,
    "patches": _flattened,
    "unshuffled": _unshuffled,
}


def _grid(tower: nn.Module, images: Tensor) -> tuple[int, int]:
    side = patch_size(tower)
    return images.shape[-2] // side, images.shape[-1] // side


def _patches(tokens: Tensor, tower: nn.Module, images: Tensor) -> Tensor:
    """Class and register tokens come first."""
    return tokens[:, -math.prod(_grid(tower, images)) :]


def _pool(tokens: Tensor, tower: nn.Module, images: Tensor, pooling: str) -> Tensor:
    return tokens[:, 0] if pooling == "cls" else _patches(tokens, tower, images).mean(1)


def _normed(tower: nn.Module, kind: Kind, tokens: Tensor) -> Tensor:
    normed: Tensor = tower.get_submodule(kind.norm)(tokens) if kind.norm else tokens
    return normed.flatten(1, 2) if normed.ndim == 4 else normed


def _outputs(tower: nn.Module, kind: Kind, images: Tensor) -> list[Tensor]:
    found: list[Tensor] = []

    def keep(module: nn.Module, inputs: Any, output: Any) -> None:
        found.append(output if isinstance(output, Tensor) else output[0])

    handles = [module.register_forward_hook(keep) for module in watched(tower, kind)]
    try:
        run(tower, kind, images)
    finally:
        for handle in handles:
            handle.remove()
    return found


def _stage_maps(tower: nn.Module, kind: Kind, images: Tensor) -> list[Tensor]:
    found = _outputs(tower, kind, images)
    if not kind.inner:
        return found
    strides = [patch_size(tower) * 2**stage for stage in range(len(found))]
    return [
        tokens_to_map(each, (math.ceil(images.shape[-2] / stride), math.ceil(images.shape[-1] / stride)))
        for each, stride in zip(found, strides, strict=True)
    ]


def _check_size(tower: nn.Module, kind: Kind, images: Tensor) -> None:
    """The sizes that an architecture cannot take, which the library answers with a mismatch of tensors."""
    config: Any = tower.config
    size = (images.shape[-2], images.shape[-1])
    if kind.one_size and not getattr(config, "is_native", False):
        side = config.image_size if isinstance(config.image_size, int) else config.image_size[0]
        if size != (side, side):
            raise ValueError(f"{kind.model} takes images of {side} x {side} only, not {size[0]} x {size[1]}")
    if kind.inner and config.model_type == "swin":
        stride = patch_size(tower) * 2 ** (len(config.depths) - 1)
        least = stride * (config.window_size - 1) + 1
        if min(size) < least:
            raise ValueError(f"{kind.model}: its last stage's window needs sides of {least} pixels, not {min(size)}")
