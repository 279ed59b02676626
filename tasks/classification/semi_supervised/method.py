"""The contract of a method: the images it wants, its loss on a batch of them, and what moves after a step."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass as settings_dataclass
from torch import Tensor, nn

from backbones.pretraining.method import Progress
from tasks.classification.semi_supervised.perturbation import View


@dataclass(frozen=True)
class Wanted:
    """What a step is made of: of each labelled image one view, and for each ``ratio`` images without labels.

    Of every one of those there is a view for each of ``unlabelled``. ``pairs``: images are mixed with their neighbours
    (2 j, 2 j + 1), so that a batch must be even.
    """

    labelled: View
    unlabelled: tuple[View, ...] = ()
    ratio: int = 0
    pairs: bool = False


class Batch(NamedTuple):
    """A micro-batch, normalised, channels-last.

    ``unlabelled`` has an entry for each view, in the order of :class:`Wanted`; its images are those of the first
    labelled image, then those of the second, and so on. ``draws`` is the step's own generator, which begins anew for
    each micro-batch: all of a step draw the same, whatever it is cut into.
    """

    labelled: Float[Tensor, "batch 3 height width"]
    labels: Int64[Tensor, " batch"]
    unlabelled: tuple[Float[Tensor, "images 3 height width"], ...]
    progress: Progress
    draws: np.random.Generator


class Method(nn.Module, ABC):
    """A network that is trained, and the objective; state that outlives a restart is parameters or buffers."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    @abstractmethod
    def loss(self, batch: Batch) -> Float32[Tensor, ""]:
        """The mean over the batch. An image without a label weighs the same whatever micro-batch it is in."""

    def after_update(self, progress: Progress) -> None:
        """The weights have moved: so does a teacher."""
        return

    @property
    def judged(self) -> nn.Module:
        """What is tested: the network, or its teacher."""
        return self.network

    def logits(
        self, *groups: Float[Tensor, "_ 3 height width"], by: nn.Module | None = None
    ) -> list[Float32[Tensor, "_ classes"]]:
        """Of several groups of images in one pass of the network, or of another."""
        answers: Tensor = (by or self.network)(torch.cat(groups)).float()
        return list(torch.split(answers, [len(group) for group in groups]))


@settings_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class MethodSettings(ABC):
    """A method as a plan writes it: every field changes the result."""

    @abstractmethod
    def wanted(self) -> Wanted:
        """The images of a step."""

    @abstractmethod
    def build(self, network: nn.Module) -> Method:
        """The method over this network, which answers images with logits."""
