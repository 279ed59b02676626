"""GMML (Atito et al. 2022, arXiv 2205.14986): connected groups of pixels are corrupted, and the clean image restored.

    u ~ U(min(1/2, m), m): the share of pixels that rectangles cover, each side of 1 pixel to 0.3 of the image's;
        m = 0.75, and there stands noise, zeros or another place; or, of half of the images, m = 0.3, and there
        stands another image of the batch at the same coordinates
    h = LN(mean of the outputs of the blocks of the last half: 6, 8, 10, 12 of 12);  y = g(h): three layers of
        (linear, GELU) for each token, then a transposed convolution from tokens to pixels
    L = mean over two views and the batch of  sum_p M(p) |y(p) - x(p)| / sum_p M(p),  M: the pixels covered

The other image is one of the micro-batch, so a step may be several; a micro-batch of one image has none, and noise.

Deviations: of "another place" the whole image is moved (and wraps around), not each rectangle by itself. Of a depth
that is not 12, the blocks at the same shares of it. How much colours change before that is not given: at ImageNet's
size half of BYOL's. The paper fine-tunes the class token; here nothing trains it, so the presets' embedding is the mean
of patches.
"""

import math
from typing import Any, ClassVar, Literal, cast

import torch
from jaxtyping import Bool, Float
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from backbones.adapters.maps import tokens_to_map
from backbones.pretraining.encoder import Encoder, TokenEncoder
from backbones.pretraining.method import (
    Batch,
    Given,
    Method,
    MethodFamily,
    MethodSettings,
    Needs,
    Outputs,
    Progress,
    check_views,
    check_views_size,
)
from backbones.pretraining.parts.groups import random_groups
from backbones.pretraining.preset import Preset
from backbones.pretraining.views.settings import ViewGroup
from backbones.training.recipe import Recipe

Images = Float[Tensor, "batch 3 height width"]
JITTER: dict[str, Any] = {"jitter": 0.8, "brightness": 0.2, "contrast": 0.2, "saturation": 0.1, "hue": 0.05}
"""The light change of colours before corruption, which is not given in numbers: half of BYOL's."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class GMML(MethodSettings):
    """``covered``: m of what is filled with ``fill``, ``elsewhere`` being another place of the image; ``exchanged``:
    the share of images that get pixels of another one, and ``exchanged_covered`` their m. ``step``: what sides of
    rectangles and their places are multiples of, in pixels; ``largest``: their longest side, a share of the image's.
    """

    family: ClassVar[MethodFamily] = "masked image modelling"
    needs: ClassVar[Needs] = "tokens"

    views: tuple[ViewGroup, ...] = (ViewGroup(count=2, crop_scale=(0.05, 1.0)),)
    covered: float = Field(default=0.75, gt=0, lt=1)
    fill: Literal["noise", "zeros", "elsewhere"] = "noise"
    exchanged: float = Field(default=0.5, ge=0, le=1)
    exchanged_covered: float = Field(default=0.3, gt=0, lt=1)
    step: int = Field(default=1, ge=1)
    largest: float = Field(default=0.3, gt=0, le=1)

    def build(self, encoder: Encoder, given: Given) -> Method:
        """Raises ``ValueError`` for other than two views of its size, or images not of whole patches and steps."""
        check_views(self, 2)
        check_views_size(self, encoder)
        if any(side % self.step for side in encoder.size):
            raise ValueError(f"step {self.step}: the image's sides, {encoder.size}, are not multiples of it")
        return _GMML(self, cast(TokenEncoder, encoder))


def corrupt(images: Images, settings: GMML) -> tuple[Images, Bool[Tensor, "batch height width"]]:
    """Each image with ``fill`` or, at random, another image's pixels in groups of places; and which places these are.

    Draws from torch's generators.
    """
    count, device = len(images), images.device
    exchanged = torch.rand(count) < (settings.exchanged if count > 1 else 0.0)
    most = torch.where(exchanged, settings.exchanged_covered, settings.covered)
    least = most.clamp(max=0.5)
    shares = (least + (most - least) * torch.rand(count)).to(device)
    size = (images.shape[2], images.shape[3])
    covered = random_groups(shares, size, settings.step, settings.largest, torch.default_generator)
    others = (torch.arange(count) + torch.randint(1, max(count, 2), (count,))) % count
    fill = torch.where(exchanged.to(device)[:, None, None, None], images[others.to(device)], _fill(images, settings))
    return torch.where(covered[:, None], fill, images), covered


def _fill(images: Images, settings: GMML) -> Images:
    if settings.fill == "noise":
        return torch.randn_like(images)
    return torch.zeros_like(images) if settings.fill == "zeros" else _moved(images)


def _moved(images: Images) -> Images:
    """Each image shifted down and to the right by draws of its own; what leaves it comes in at the other side."""
    for axis in (2, 3):
        side = images.shape[axis]
        shift = torch.randint(1, side, (len(images), 1))
        at = ((torch.arange(side) - shift) % side).to(images.device)
        shape = (-1, 1, side, 1) if axis == 2 else (-1, 1, 1, side)
        images = images.gather(axis, at.view(shape).expand_as(images))
    return images


def restoration_loss(
    restored: Float[Tensor, "batch views 3 height width"],
    images: Float[Tensor, "batch views 3 height width"],
    covered: Bool[Tensor, "batch views height width"],
) -> Float[Tensor, ""]:
    """The mean absolute error over covered pixels of each view, each view counting alike."""
    errors = (restored - images).abs().mean(dim=2) * covered
    return (errors.sum(dim=(2, 3)) / covered.sum(dim=(2, 3))).mean()


class _GMML(Method):
    encoder: TokenEncoder

    def __init__(self, settings: GMML, encoder: TokenEncoder) -> None:
        super().__init__(encoder)
        encoder.check_whole_patches()
        encoder.freeze_pooling()
        self.settings, width = settings, encoder.width
        self.blocks = half_of_blocks(encoder.depth)
        self.head = nn.Sequential(*(layer for _ in range(3) for layer in (nn.Linear(width, width), nn.GELU())))
        self.to_pixels = nn.ConvTranspose2d(width, 3, encoder.patch, encoder.patch)

    def represent(self, batch: Batch) -> Outputs:
        """Both views restored, as they are, and where they were corrupted."""
        images = [view.images for view in batch.views]
        corrupted, covered = zip(*(corrupt(each, self.settings) for each in images), strict=True)
        restored = self._restored(torch.cat(corrupted)).chunk(len(images))
        return {
            "restored": torch.stack(restored, dim=1),
            "images": torch.stack(images, dim=1),
            "covered": torch.stack(covered, dim=1),
        }

    def loss(self, outputs: Outputs, progress: Progress) -> Float[Tensor, ""]:
        """The mean absolute error where views were corrupted."""
        return restoration_loss(outputs["restored"], outputs["images"], outputs["covered"])

    def _restored(self, images: Images) -> Images:
        found = self.encoder.tokens(images, blocks=self.blocks).blocks
        hidden = self.head(self.encoder.norm(torch.stack(found).mean(dim=0)))
        restored: Tensor = self.to_pixels(tokens_to_map(hidden, self.encoder.grid))
        return restored


def half_of_blocks(depth: int) -> tuple[int, ...]:
    """Those at 1/2, 2/3, 5/6 and the whole of the depth, rounded up, counted from 0.

    >>> half_of_blocks(12), half_of_blocks(6), half_of_blocks(3)
    ((5, 7, 9, 11), (2, 3, 4, 5), (1, 2))
    """
    return tuple(sorted({math.ceil(depth * sixths / 6) - 1 for sixths in (3, 4, 5, 6)}))


METHODS = {"gmml": GMML}
PRESETS = {
    "gmml": {
        "cifar": Preset(
            settings=GMML(views=(ViewGroup(count=2, crop_scale=(0.08, 1.0)),)),
            recipe=Recipe(epochs=1000, global_batch=256, learning_rate=5e-4, weight_decay=0.05, warmup_epochs=10),
            architecture="timm:vit_tiny_patch16_224",
            kwargs={"patch_size": 4, "img_size": 32, "global_pool": "avg", "fc_norm": False},
            size=32,
            source="our choice after the paper's recipe; not run here at this length",
        ),
        "imagenet": Preset(
            settings=GMML(views=(ViewGroup(count=2, crop_scale=(0.05, 1.0), **JITTER),)),
            recipe=Recipe(
                epochs=800,
                global_batch=512,
                learning_rate=1e-3,
                weight_decay=0.04,
                final_weight_decay=0.4,
                warmup_epochs=10,
                warmup_learning_rate=0.0,
                clip_norm=3.0,
            ),
            architecture="timm:vit_small_patch16_224",
            kwargs={"global_pool": "avg", "fc_norm": False},
            size=224,
            source="the authors' code: 5e-4 * batch / 256, of 8 devices with 64 images; not run here",
        ),
    }
}
