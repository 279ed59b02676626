"""The backbone contract: what every adapter hands out, by name, whatever the weights came from."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, get_args, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

Family = Literal[
    "supervised",
    "self-supervised",
    "vision-language",
    "diffusion",
    "depth",
    "segmentation",
    "random",
    "pixels",
]
FAMILIES: tuple[Family, ...] = get_args(Family)
BASELINES: frozenset[Family] = frozenset({"random", "pixels"})
"""Families that are no candidates but floors: a backbone that does not beat them has learnt nothing useful."""

Interpolation = Literal["nearest", "bilinear", "bicubic"]
Crop = Literal["center", "center_floor", "squash", "pad"]


@dataclass(frozen=True)
class Card:
    """Who a backbone is. ``weights_sha256`` is its identity: what was loaded, not what it was called.

    ``parameters`` counts the trunk (without a classifier head). ``source`` names the library and its version that
    built the architecture (``timm 1.0.31``); ``revision`` pins the weights (a tag, a commit, a file name).
    """

    name: str
    family: Family
    architecture: str
    parameters: int
    pretraining_method: str
    pretraining_data: str
    source: str
    revision: str
    licence: str
    weights_sha256: str


@dataclass(frozen=True)
class Preprocess:
    """From a decoded RGB image to the tensor the weights were trained on. It belongs to the weights.

    In order: resize, crop, scale to [0, 1], subtract ``mean``, divide by ``std`` (both RGB, in [0, 1] units).
    ``crop="center"``: the shorter side becomes ``resize`` pixels, then the central ``size`` (height, width) is cut.
    Of an odd margin torchvision rounds one half to even; ``crop="center_floor"`` always down, as transformers does.
    ``crop="squash"``: the whole image is resized to ``size``, its aspect ratio lost; ``resize`` is not used.
    ``crop="pad"``: the longer side becomes ``resize`` pixels, the rest of ``size`` (below, right) is filled with the
    mean colour to the nearest grey level, and exactly that colour normalises to zero.
    Resizing is antialiased.
    """

    size: tuple[int, int]
    resize: int
    crop: Crop
    interpolation: Interpolation
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __post_init__(self) -> None:
        """Statistics in grey levels are the commonest slip: features of them are noise, and look like features."""
        if not all(0 <= value <= 1 for value in self.mean) or not all(0 < value <= 1 for value in self.std):
            raise ValueError(
                f"mean {self.mean} and std {self.std} must be those of pixels scaled to [0, 1] "
                "(mean in 0..1, std above 0 and at most 1); if they are of 0..255, divide them by 255"
            )


class Backbone(nn.Module, ABC):
    """A pretrained trunk. Input is always a batch already put through ``preprocess``."""

    card: Card
    preprocess: Preprocess

    @abstractmethod
    def embed(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch dim"]:
        """One pooled vector an image, as its authors use it for transfer (the classifier's input)."""

    @abstractmethod
    def feature_maps(
        self, images: Float[Tensor, "batch 3 height width"]
    ) -> dict[int, Float[Tensor, "batch channels map_height map_width"]]:
        """Dense features by stride: ``{4: ..., 8: ...}``, a map's side is the image's over the stride, rounded up.

        Raises ``NotImplementedError``, naming the backbone, where it has none.
        """

    @abstractmethod
    def layers(self) -> list[tuple[str, list[nn.Parameter]]]:
        """Parameters in groups named and ordered by depth, input first; together they are all of the trunk's."""

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch dim"]:
        """The same as :meth:`embed`, so that a backbone can stand wherever a plain module does."""
        return self.embed(images)


@runtime_checkable
class Classifier(Protocol):
    """A backbone whose checkpoint came with a classifier head of its own."""

    classes: tuple[str, ...]
    """Names of the head's outputs in order; ImageNet heads use WordNet ids (``n01440764``)."""

    def classify(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch classes"]:
        """Logits of the checkpoint's own head."""
        ...


@runtime_checkable
class TextEncoder(Protocol):
    """A vision-language backbone: its ``embed`` and its text share one space, compared by cosine."""

    @property
    def logit_scale(self) -> float:
        """What a cosine is multiplied by to be a logit of the loss the weights were trained with (its inverse
        temperature). A sigmoid loss also adds a bias, which is the same for every prompt and so changes no comparison.
        """
        ...

    def embed_text(self, prompts: Sequence[str]) -> Float[Tensor, "prompts dim"]:
        """One vector a prompt, not normalised, in the space of :meth:`Backbone.embed`."""
        ...

    def overlong(self, prompts: Sequence[str]) -> list[str]:
        """Those of the prompts that are longer than the text tower reads; :meth:`embed_text` cuts their ends off."""
        ...


@runtime_checkable
class Readable(Protocol):
    """A backbone that can be read elsewhere than its authors do: another layer, token, pooling, timestep.

    A readout is named ``WHERE/POOLING`` (``block11/cls``, ``last4/mean``, ``t100-up1/mean``).
    """

    readouts: tuple[str, ...]
    """Every name :meth:`read` takes, the most promising first: a trial budget of n takes the first n."""

    def read(self, images: Float[Tensor, "batch 3 height width"], readout: str) -> Float[Tensor, "batch dim"]:
        """One vector an image. Raises ``ValueError`` naming the choices for an unknown readout."""
        ...


def freeze(backbone: Backbone) -> Backbone:
    """Evaluation mode and no gradients: a probe must not let BatchNorm drift or weights move. In place."""
    backbone.eval()
    for parameter in backbone.parameters():
        parameter.requires_grad_(False)
    return backbone


def resolve_device(device: str) -> torch.device:
    """``auto`` is the first GPU there is (CUDA, then MPS), else the CPU; any other name is torch's own."""
    if device != "auto":
        return torch.device(device)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
