"""The contract of a method: the views it wants, what it computes of them, its loss, and what moves after a step."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass as settings_dataclass
from torch import Tensor, nn

from backbones.base import Backbone
from backbones.places import Places
from backbones.pretraining.encoder import Encoder
from backbones.pretraining.views.settings import ViewGroup

MethodFamily = Literal[
    "contrastive", "clustering", "self-distillation", "information maximisation", "masked image modelling",
    "distillation",
]  # fmt: skip
"""The surveys' (2305.13689, 2408.17059); the last learns from another backbone."""
Needs = Literal["any", "map", "tokens"]
"""Of the encoder: pooled vectors; also its last map; or the tokens of a plain vision transformer."""
Outputs = Mapping[str, Tensor]


class Progress(NamedTuple):
    """Where a training is. ``step`` counts from 0 and is the one under way.

    No dataclass: in lower precision and on several devices Fabric looks for tensors in a batch, and stops at those.
    """

    step: int
    total: int
    steps_an_epoch: int

    @property
    def share(self) -> float:
        """Of the training that is done: 0 at its first step, 1 at its last."""
        return self.step / max(self.total - 1, 1)

    @property
    def epoch(self) -> float:
        """Epochs that are done."""
        return self.step / self.steps_an_epoch

    @property
    def ends_epoch(self) -> bool:
        """Whether this step is the last of an epoch."""
        return (self.step + 1) % self.steps_an_epoch == 0


class View(NamedTuple):
    """One view of each image of a batch, normalised, channels-last.

    ``boxes`` are where it was cut, (top, left, height, width) as shares of the image's height and width, and
    ``flipped`` whether it is mirrored.
    """

    images: Float[Tensor, "batch 3 height width"]
    boxes: Float[Tensor, "batch 4"]
    flipped: Bool[Tensor, " batch"]


class Batch(NamedTuple):
    """A micro-batch. ``views`` are in the order of the method's groups; ``rows`` number its images in the set."""

    views: tuple[View, ...]
    rows: Int64[Tensor, " batch"]
    progress: Progress


class Method(nn.Module, ABC):
    """An encoder with heads and an objective, between the batch and its loss.

    ``whole_batch``: the loss compares images with each other. Then the outputs of all devices are brought together
    before :meth:`loss` sees them, and a step is one micro-batch a device.
    What must outlive a restart (teachers, queues, centres) are parameters without gradients or buffers, never plain
    attributes.
    """

    whole_batch: bool = False

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    @abstractmethod
    def represent(self, batch: Batch) -> Outputs:
        """All that the loss needs, by name, each tensor's first axis the batch (or, of views one after the other,
        a second axis of views: (batch, views, ...)). Runs in the training's precision.
        """

    @abstractmethod
    def loss(self, outputs: Outputs, progress: Progress) -> Float[Tensor, ""]:
        """Their mean loss, in float32; with ``whole_batch`` of the global batch. Uses no trained parameters.

        Runs once a micro-batch; what it has to remember for :meth:`after_update` goes into buffers.
        """

    def before_update(self, progress: Progress) -> None:
        """The gradient is whole: what must not move in this step loses its (``parameter.grad = None``)."""
        return

    def after_update(self, progress: Progress) -> None:
        """The weights have moved: so do teachers, queues and centres."""
        return

    def steady(self) -> list[nn.Parameter]:
        """Parameters whose learning rate has no schedule."""
        return []

    def published(self) -> Backbone:
        """What the method is for: the student's trunk, or its teacher's."""
        return self.encoder.backbone

    def facts(self) -> dict[str, str]:
        """What the result also depends on (a teacher's weights): a training goes on only with the same."""
        return {}

    def watched(self, outputs: Outputs, progress: Progress) -> Outputs:
        """What must go on telling images apart: an alarm looks at those of them that are a vector of each image, or
        of each of its views.
        """
        return outputs

    @torch.no_grad()
    def health(self, batch: Batch) -> dict[str, float]:
        """Numbers of its own on fixed views, in evaluation mode (a teacher's entropy); every time the same names."""
        return {}

    def least(self, progress: Progress) -> Mapping[str, float]:
        """Those of :meth:`health` that say it has collapsed, at this point of the training, where they are below."""
        return {}


@dataclass(frozen=True)
class Given:
    """What a method is built for besides its encoder: so many ``images``; other backbones are found in ``places``."""

    images: int
    places: Places


@settings_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class MethodSettings(ABC):
    """A method as a plan writes it: every field changes the result. ``views`` are the groups in order.

    ``family`` and ``needs`` say what it is and which encoders it can train.
    """

    family: ClassVar[MethodFamily]
    needs: ClassVar[Needs] = "any"

    views: tuple[ViewGroup, ...] = (ViewGroup(count=2),)

    @abstractmethod
    def build(self, encoder: Encoder, given: Given) -> Method:
        """The method over this encoder, its heads drawn from torch's generator.

        Raises ``ValueError`` for settings that do not go together, or an encoder that does not fit.
        """


def check_views(settings: MethodSettings, count: int) -> None:
    """Raises ``ValueError`` where the groups make another number of views than the method takes."""
    made = sum(group.count for group in settings.views)
    if made != count:
        raise ValueError(f"{type(settings).__name__} takes {count} views, and its groups make {made}")


def check_views_size(settings: MethodSettings, encoder: Encoder) -> None:
    """Raises ``ValueError`` where a group makes views of another size than the encoder's, whose patches are counted."""
    for group in settings.views:
        if group.size is not None and (group.size, group.size) != encoder.size:
            raise ValueError(
                f"{type(settings).__name__} takes views of the encoder's size, {encoder.size[0]} x {encoder.size[1]} "
                f"pixels, not of {group.size}: leave the group's size out"
            )
