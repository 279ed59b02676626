"""Attention in windows for plain vision transformers at high resolution, as ViTDet (Li et al. 2022, arXiv 2203.16527).

All but four blocks attend within windows of ``window x window`` patches; the last block of each quarter (2, 5, 8 and 11
of 12) attends globally and carries information between windows. Attention's cost then grows linearly with the image's
area in most blocks: a ViT-S/16 at 1024 pixels took 1.9 s in windows of 14 and 2.6 s without, a training step 5.6 s and
8.8 s (two CPU cores, fused attention; peak memory 2.3 and 2.4 GiB).

Windows are laid from the top left. Those that reach over the right or lower edge are filled up, and what fills them is
masked: no patch sees it (ViTDet lets zeros in). Class and register tokens, which ViTDet leaves out, are part of every
window: all its patches see them, they see all its patches, and what they gather is averaged over the windows by their
numbers of patches. A window that covers the image is global attention, exactly.

Nothing is added to the model but hooks: parameters keep their names, so weights and their identity stay the same.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor, nn
from torch.nn.functional import pad

from backbones.base import Backbone


@dataclass(frozen=True)
class Layout:
    """Where a library keeps what is needed: the module that cuts patches, whether it puts channels last, the blocks."""

    patches: str
    channels_last: bool
    blocks: str


TIMM = Layout("patch_embed", True, "blocks")
LAYOUTS: Mapping[str, Layout] = {
    "timm.models.vision_transformer.VisionTransformer": TIMM,
    "timm.models.eva.Eva": TIMM,
    "open_clip.transformer.VisionTransformer": Layout("conv1", False, "transformer.resblocks"),
}
"""By the class's full name, so that no library is imported to look."""


def attend_in_windows(backbone: Backbone, window: int) -> None:
    """Let every block but the last of each quarter attend in windows of ``window x window`` patches. In place.

    Raises ``ValueError``, naming the backbone, for a window below 1 and an architecture that is not a plain vision
    transformer of timm or open_clip taking images of any size.
    """
    name = backbone.card.name
    if window < 1:
        raise ValueError(f"window {window} must be at least 1 patch a side")
    found = [(module, layout) for module in backbone.modules() if (layout := _layout(module))]
    if len(found) != 1:
        raise ValueError(f"window {window}: {name} is no plain vision transformer of {_known()}; leave window out")
    (model, layout), grid = found[0], Grid(found[0][1].channels_last)
    if layout is TIMM and not getattr(model, "dynamic_img_size", False):
        raise ValueError(f"window {window}: {name} takes images of one size; leave window out")
    blocks = list(model.get_submodule(layout.blocks).children())
    attentions = [getattr(block, "attn", None) for block in blocks]
    wanted = nn.Module if layout is TIMM else nn.MultiheadAttention
    if not all(isinstance(each, wanted) for each in attentions):
        raise ValueError(f"window {window}: the blocks of {name} keep their attention elsewhere; leave window out")
    model.get_submodule(layout.patches).register_forward_hook(grid)
    for index, attention in enumerate(attentions):
        if index not in global_blocks(len(blocks)):
            windows = Windows(window, grid)
            attention.register_forward_pre_hook(windows.split, with_kwargs=True)  # type: ignore[union-attr]
            attention.register_forward_hook(windows.join)  # type: ignore[union-attr]


def global_blocks(depth: int) -> set[int]:
    """The last block of each quarter; of four blocks or fewer, all.

    >>> sorted(global_blocks(12)), sorted(global_blocks(6))
    ([2, 5, 8, 11], [1, 2, 4, 5])
    """
    return {-(-depth * quarter // 4) - 1 for quarter in range(1, 5)}


class Grid:
    """Rows and columns of patches of the images in the model now, told by the module that cuts them."""

    def __init__(self, channels_last: bool) -> None:
        self.channels_last = channels_last
        self.size = (0, 0)

    def __call__(self, module: nn.Module, inputs: Any, output: Tensor) -> None:
        """Look at the patches (a forward hook)."""
        rows, columns = output.shape[1:3] if self.channels_last else output.shape[2:4]
        self.size = (int(rows), int(columns))


class Windows:
    """The two hooks about one attention module: its tokens are a batch of windows while it runs."""

    def __init__(self, window: int, grid: Grid) -> None:
        self.window, self.grid = window, grid

    def split(self, module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """Tokens, rotary positions and the mask of the windows. Nothing where a window covers the image."""
        if self._covers():
            return None
        if named.get("attn_mask") is not None:
            raise ValueError("attention in windows makes its own mask and takes no other")
        tokens = into_windows(inputs[0], self.grid.size, self.window)
        filled = any(side % self.window for side in self.grid.size)
        seen = self._seen(tokens).repeat(len(inputs[0]), 1) if filled else None
        if isinstance(module, nn.MultiheadAttention):
            return (tokens, tokens, tokens), {**named, "key_padding_mask": None if seen is None else ~seen}
        given = {**named, "attn_mask": None if seen is None else seen[:, None, None]}
        if given.get("rope") is not None:
            given["rope"] = self._rotary(given["rope"], len(inputs[0]))
        return (tokens,), given

    def join(self, module: nn.Module, inputs: Any, output: Any) -> Any:
        """The attention's output as one row of tokens again."""
        if self._covers():
            return None
        tokens = output[0] if isinstance(output, tuple) else output
        patches = self._seen(tokens)[:, -(self.window**2) :].sum(1)
        joined = out_of_windows(tokens, patches / patches.sum(), self.grid.size, self.window)
        return (joined, *output[1:]) if isinstance(output, tuple) else joined

    def _covers(self) -> bool:
        return self.window >= max(self.grid.size)

    def _seen(self, tokens: Float[Tensor, "windows tokens channels"]) -> Bool[Tensor, "windows_of_one tokens"]:
        """Which tokens of each window of an image are no filling."""
        prefix = tokens.shape[1] - self.window**2
        patches = torch.ones(1, self.grid.size[0] * self.grid.size[1], 1, dtype=torch.bool, device=tokens.device)
        return pad(into_windows(patches, self.grid.size, self.window)[..., 0], (prefix, 0), value=True)

    def _rotary(self, positions: Tensor, images: int) -> Float[Tensor, "windows heads_or_1 patches channels"]:
        """Of (patches, channels), with or without heads before them: the same for every image."""
        by_head = positions if positions.ndim == 3 else positions[None]
        split = torch.stack([into_windows(each[None], self.grid.size, self.window) for each in by_head], 1)
        return split.repeat(images, 1, 1, 1)


def into_windows(
    tokens: Shaped[Tensor, "batch prefix_and_grid channels"], grid: tuple[int, int], window: int
) -> Shaped[Tensor, "windows prefix_and_patches channels"]:
    """Windows of each image in turn, row by row; each begins with a copy of its image's class and register tokens.

    Filled up with zeros on the right and below.
    """
    (rows, columns), (batch, _, channels) = grid, tokens.shape
    prefix, patches = tokens.tensor_split([tokens.shape[1] - rows * columns], 1)
    down, across = -(-rows // window), -(-columns // window)
    image = pad(
        patches.view(batch, rows, columns, channels), (0, 0, 0, across * window - columns, 0, down * window - rows)
    )
    cut = image.view(batch, down, window, across, window, channels).transpose(2, 3)
    windows = cut.reshape(batch * down * across, window**2, channels)
    return torch.cat([prefix.repeat_interleave(down * across, 0), windows], 1)


def out_of_windows(
    windows: Tensor, weights: Float[Tensor, " windows_of_one"], grid: tuple[int, int], window: int
) -> Float[Tensor, "batch prefix_and_grid channels"]:
    """The inverse of ``into_windows``: filling dropped, the prefix averaged over an image's windows by ``weights``."""
    (rows, columns), channels = grid, windows.shape[-1]
    down, across = -(-rows // window), -(-columns // window)
    batch = len(windows) // (down * across)
    prefix, patches = windows.tensor_split([windows.shape[1] - window**2], 1)
    whole = patches.view(batch, down, across, window, window, channels).transpose(2, 3)
    image = whole.reshape(batch, down * window, across * window, channels)[:, :rows, :columns]
    each = prefix.view(batch, down * across, -1, channels)
    mean = (each * weights.to(each.dtype)[:, None, None]).sum(1)
    return torch.cat([mean, image.reshape(batch, rows * columns, channels)], 1)


def _layout(module: nn.Module) -> Layout | None:
    names = [f"{each.__module__}.{each.__qualname__}" for each in type(module).__mro__]
    return next((LAYOUTS[name] for name in names if name in LAYOUTS), None)


def _known() -> str:
    return " or ".join(sorted({name.partition(".")[0] for name in LAYOUTS}))
