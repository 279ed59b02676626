"""Image towers of open_clip behind one face: its own vision transformer, CLIP's ResNet, and timm models.

Position embeddings are interpolated (bicubic, antialiased, as open_clip resizes them) where an image is of another size
than the trained one; at the trained size nothing changes (tested).
"""

import math
from abc import ABC, abstractmethod
from typing import Any

import timm
import torch
from open_clip.modified_resnet import ModifiedResNet
from open_clip.timm_model import TimmModel
from open_clip.transformer import VisionTransformer
from timm.layers.pos_embed import resample_abs_pos_embed
from timm.models import Eva
from timm.models import VisionTransformer as TimmVisionTransformer
from torch import Tensor, nn
from torch.func import functional_call

from backbones.adapters.maps import fit_to_stride, pad_to, tokens_to_map, whole_patches
from backbones.adapters.timm_models import by_depth, head_parameters, last_maps, reductions
from backbones.plugins import unknown

Groups = list[tuple[str, list[nn.Parameter]]]


class Tower(ABC):
    """An image tower. ``readouts`` are the names :meth:`read` takes, the most promising first."""

    readouts: tuple[str, ...]

    @abstractmethod
    def embed(self, images: Tensor) -> Tensor:
        """The projected embedding, (batch, dim)."""

    @abstractmethod
    def feature_maps(self, images: Tensor) -> dict[int, Tensor]:
        """Dense features by stride."""

    @abstractmethod
    def layers(self) -> Groups:
        """Every parameter of the tower in depth order."""

    @abstractmethod
    def pooled(self, images: Tensor, place: str, pooling: str) -> Tensor:
        """The readout ``place/pooling``, which is one of ``readouts``."""

    def read(self, images: Tensor, readout: str) -> Tensor:
        """One vector an image. Raises ``ValueError`` for an unknown readout."""
        if readout not in self.readouts:
            raise unknown("readout", readout, self.readouts)
        return self.pooled(images, *readout.split("/"))


def tower_of(visual: nn.Module) -> Tower:
    """Raises ``ValueError`` for a tower that open_clip has and BoB does not know."""
    if isinstance(visual, VisionTransformer):
        return TransformerTower(visual)
    if isinstance(visual, ModifiedResNet):
        return ResNetTower(visual)
    if isinstance(visual, TimmModel):
        return TimmTower(visual)
    raise ValueError(f"open_clip's {type(visual).__name__} is no image tower BoB knows")


class TransformerTower(Tower):
    """open_clip's own vision transformer (CLIP, CLIPA, CoCa): one map, at the stride of its patches.

    ``final`` is the last block after the norm that its pooling sees; blocks are read as they are.
    """

    def __init__(self, visual: VisionTransformer) -> None:
        self.visual: Any = visual
        self.stride: int = visual.patch_size[0]
        self.blocks = len(visual.transformer.resblocks)
        places = ["final", *["last4"] * (self.blocks >= 4), *(f"block{i}" for i in reversed(range(self.blocks)))]
        self.readouts = tuple(f"{place}/{pooling}" for place in places for pooling in ("cls", "mean"))

    def embed(self, images: Tensor) -> Tensor:
        """What ``encode_image`` gives, not normalised."""
        positions = self._positions(images)
        output = functional_call(self.visual, positions, (images,)) if positions else self.visual(images)
        projected: Tensor = output[0] if isinstance(output, tuple) else output  # CoCa adds its tokens
        return projected

    def feature_maps(self, images: Tensor) -> dict[int, Tensor]:
        """Patch tokens after the final norm; the image is padded to whole patches."""
        image = pad_to(images, self.stride)
        (tokens,) = self._tokens(image, [self.blocks - 1])
        return {self.stride: tokens_to_map(self._norm(tokens), _grid(image, self.stride))}

    def layers(self) -> Groups:
        """Stem, blocks, then what pools and projects."""
        visual = self.visual
        blocks = [list(block.parameters()) for block in visual.transformer.resblocks]
        stem = [visual.class_embedding, visual.positional_embedding, *visual.conv1.parameters()]
        return _with_rest(visual, [("0 stem", [*stem, *visual.ln_pre.parameters()]), *_numbered("block", blocks)])

    def pooled(self, images: Tensor, place: str, pooling: str) -> Tensor:
        """The class token, or the mean of the patch tokens."""
        count = {"final": 1, "last4": 4}.get(place)
        at = range(self.blocks - count, self.blocks) if count else [int(place.removeprefix("block"))]
        tokens = self._tokens(images, list(at))
        if place == "final":
            tokens = [self._norm(each) for each in tokens]
        return torch.cat([each[:, 0] if pooling == "cls" else each[:, 1:].mean(1) for each in tokens], dim=1)

    def _tokens(self, images: Tensor, blocks: list[int]) -> list[Tensor]:
        """Class and patch tokens after each of these blocks; none after the last of them is run."""
        positions = {f"visual.{name}": value for name, value in self._positions(images).items()}
        wanted = {"indices": blocks, "stop_early": True, "intermediates_only": True}
        form = {"output_fmt": "NLC", "output_extra_tokens": True}
        found = functional_call(_Intermediates(self.visual), positions, (images,), {**wanted, **form})
        both = zip(found["image_intermediates_prefix"], found["image_intermediates"], strict=True)
        return [torch.cat(each, dim=1) for each in both]

    def _norm(self, tokens: Tensor) -> Tensor:
        pooler = self.visual.attn_pool
        normalised: Tensor = self.visual.ln_post(tokens) if pooler is None else pooler.ln_k(tokens)
        return normalised

    def _positions(self, images: Tensor) -> dict[str, Tensor]:
        name = "positional_embedding"
        return _resampled(name, self.visual.positional_embedding, self.visual.grid_size, _grid(images, self.stride))


class ResNetTower(Tower):
    """CLIP's ResNet, pooled by attention; ``stageN/mean`` are the means of its maps."""

    readouts = ("stage4/mean", "stage3/mean", "stage2/mean", "stage1/mean")

    def __init__(self, visual: ModifiedResNet) -> None:
        self.visual: Any = visual

    def embed(self, images: Tensor) -> Tensor:
        """What ``encode_image`` gives, not normalised."""
        positions = self.visual.attnpool.positional_embedding
        side = math.isqrt(positions.shape[0] - 1)
        # the first convolution rounds up, the four poolings down
        rows, columns = (math.ceil(length / 2) // 16 for length in images.shape[-2:])
        replaced = _resampled("attnpool.positional_embedding", positions, (side, side), (rows, columns))
        projected: Tensor = functional_call(self.visual, replaced, (images,)) if replaced else self.visual(images)
        return projected

    def feature_maps(self, images: Tensor) -> dict[int, Tensor]:
        """The last map of each stage."""
        size = (images.shape[-2], images.shape[-1])
        strides = (4, 8, 16, 32)
        found = self._stages(images, [1, 2, 3, 4])
        return {stride: fit_to_stride(each, stride, size) for stride, each in zip(strides, found, strict=True)}

    def layers(self) -> Groups:
        """Stem, blocks, then the pooling, which projects."""
        visual = self.visual
        stem = [visual.conv1, visual.bn1, visual.conv2, visual.bn2, visual.conv3, visual.bn3]
        stages = (visual.layer1, visual.layer2, visual.layer3, visual.layer4)
        blocks = [list(block.parameters()) for stage in stages for block in stage]
        first = [parameter for module in stem for parameter in module.parameters()]
        return _with_rest(visual, [("0 stem", first), *_numbered("block", blocks)])

    def pooled(self, images: Tensor, place: str, pooling: str) -> Tensor:
        """The mean of a stage's map."""
        (found,) = self._stages(images, [int(place.removeprefix("stage"))])
        return found.mean((2, 3))

    def _stages(self, images: Tensor, indices: list[int]) -> list[Tensor]:
        found = self.visual.forward_intermediates(images, indices=indices, intermediates_only=True)
        return list(found["image_intermediates"])


class TimmTower(Tower):
    """A timm model and a projection (SigLIP, EVA, ConvNeXt, MobileCLIP, Perception Encoder).

    ``final/pooled`` is what goes into the projection, where there is one; the others are means of maps.
    """

    def __init__(self, visual: TimmModel) -> None:
        self.visual: Any = visual
        self.trunk: Any = visual.trunk
        strides = reductions(self.trunk)
        self.patch = strides[-1] if isinstance(self.trunk, TimmVisionTransformer | Eva) else 1
        kind = "block" if len(set(strides)) == 1 else "stage"
        projected = [*visual.head.parameters(), *head_parameters(self.trunk)]
        places = [f"{kind}{index}/mean" for index in reversed(range(len(strides)))]
        self.readouts = (*(["final/pooled"] if projected else []), "final/mean", *places)

    def embed(self, images: Tensor) -> Tensor:
        """What ``encode_image`` gives, not normalised; pixels beyond the last whole patch are not seen."""
        projected: Tensor = self.visual(whole_patches(images, self.patch))
        return projected

    def feature_maps(self, images: Tensor) -> dict[int, Tensor]:
        """timm's own, the last of every stride."""
        return last_maps(self.trunk, pad_to(images, self.patch), type(self.trunk).__name__)

    def layers(self) -> Groups:
        """timm's order of depth, then the projection."""
        return _with_rest(self.visual, by_depth(self.trunk))

    def pooled(self, images: Tensor, place: str, pooling: str) -> Tensor:
        """timm's ``pre_logits``, or the mean of a map."""
        whole = whole_patches(images, self.patch)
        if pooling == "pooled":
            pooled: Tensor = self.trunk.forward_head(self.trunk.forward_features(whole), pre_logits=True)
            return pooled.flatten(1)
        if place == "final":
            return list(self.feature_maps(images).values())[-1].mean((2, 3))
        index = int(place.removeprefix("block").removeprefix("stage"))
        (found,) = self.trunk.forward_intermediates(whole, indices=[index], intermediates_only=True)
        mean: Tensor = found.mean((2, 3))
        return mean


def take_any_size(visual: nn.Module) -> None:
    """Give a timm transformer the form that takes any image size, before its weights are loaded. In place.

    Its weights have the same names and shapes (tested for every architecture of open_clip); others stay as they are.
    """
    if not isinstance(visual, TimmModel) or not isinstance(visual.trunk, TimmVisionTransformer | Eva):
        return
    trunk: Any = visual.trunk
    name = trunk.pretrained_cfg["architecture"]
    classes, pooling = trunk.num_classes, trunk.global_pool
    visual.trunk = timm.create_model(name, num_classes=classes, global_pool=pooling, dynamic_img_size=True)


class _Intermediates(nn.Module):
    """open_clip's method as a ``forward``, for ``functional_call`` to run it with other position embeddings."""

    def __init__(self, visual: nn.Module) -> None:
        super().__init__()
        self.visual = visual

    def forward(self, images: Tensor, **arguments: Any) -> Any:
        return self.visual.forward_intermediates(images, **arguments)  # type: ignore[operator]


def _grid(images: Tensor, stride: int) -> tuple[int, int]:
    return images.shape[-2] // stride, images.shape[-1] // stride


def _resampled(name: str, positions: Tensor, trained: tuple[int, int], grid: tuple[int, int]) -> dict[str, Tensor]:
    """The embedding of a class token and ``grid`` patches; nothing where that is the trained grid."""
    if grid == tuple(trained):
        return {}
    resampled = resample_abs_pos_embed(positions[None], list(grid), list(trained), num_prefix_tokens=1)
    return {name: resampled[0]}


def _numbered(kind: str, groups: list[list[nn.Parameter]]) -> Groups:
    return [(f"{depth} {kind}{depth - 1}", parameters) for depth, parameters in enumerate(groups, start=1)]


def _with_rest(visual: nn.Module, groups: Groups) -> Groups:
    """All other parameters of the tower as a last group."""
    held = {id(parameter) for _, group in groups for parameter in group}
    rest = [parameter for parameter in visual.parameters() if id(parameter) not in held]
    return [*groups, (f"{len(groups)} projection", rest)] if rest else groups
