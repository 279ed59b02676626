"""Pairs of a sound method and its twin that must fail: what keeps it from collapsing taken out."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from backbones.base import Backbone
from backbones.pretraining.health.health import Alarm, Health
from backbones.pretraining.method import MethodSettings
from backbones.pretraining.methods.byol import BYOL
from backbones.pretraining.methods.swav import SwAV
from backbones.pretraining.pretrainee import Pretrainee
from backbones.pretraining.views.settings import ViewGroup
from backbones.pretraining.views.stream import ViewStream
from backbones.training.recipe import Recipe
from tests.feature_fakes import MemoryImages
from tests.pixel_fakes import encoded
from tests.pretraining_fakes import tiny_method
from tests.pretraining_twins import TwinSimSiam, TwinVICReg

SIDE, IMAGES = 32, 64
VIEWS = (ViewGroup(count=2, crop_scale=(0.5, 1.0), jitter=0.8, brightness=0.2, contrast=0.2, saturation=0.2),)
RECIPE = Recipe(
    epochs=10,
    global_batch=16,
    optimiser="sgd",
    learning_rate=0.5,
    minimum_learning_rate=0.5,
    momentum=0.0,
    warmup_epochs=0,
    weight_decay=0.0,
)
"""40 steps of plain gradient descent."""


def without_sinkhorn(method: Any) -> None:
    """Codes are the softmax of the scores: one prototype may take all."""
    method._codes = lambda scores, view: (scores / method.settings.epsilon).softmax(1)


def as_it_is(method: Any) -> None:
    """The settings alone make the twin."""


@dataclass(frozen=True)
class Pair:
    """``spoil`` turns the method of the settings ``spoilt`` into the twin, in place; both make so many steps."""

    honest: MethodSettings
    spoilt: MethodSettings
    spoil: Callable[[Any], None] = as_it_is
    steps: int = 30
    rate: float = 0.5


SOUND_BYOL = BYOL(views=VIEWS, projector=(32, 32), predictor=32, momentum=0.9)
_SWAV = SwAV(views=VIEWS, projector=(32, 32), prototypes=32, frozen_epochs=0)
PAIRS = {
    "simsiam": Pair(TwinSimSiam(guarded=True), TwinSimSiam()),
    "vicreg": Pair(TwinVICReg(), TwinVICReg(variance=0.0), rate=0.02),
    "swav": Pair(_SWAV, _SWAV, without_sinkhorn),
}
"""Deviations as shares of those before, measured with seeds 0 and 1, sound and spoilt: SimSiam 0.98 and 0.36 to 0.41,
VICReg 2.55 to 5.3 and 0.23 to 0.25, SwAV (z) 0.94 to 1.03 and 0.41 to 0.43.
"""


def blobs(count: int = IMAGES, side: int = SIDE) -> MemoryImages:
    """Smooth random colours."""
    coarse = np.random.default_rng(0).integers(0, 256, (count, 4, 4, 3), dtype=np.uint8)
    return MemoryImages(
        [encoded(np.asarray(Image.fromarray(each).resize((side, side), Image.Resampling.BICUBIC))) for each in coarse]
    )


def beginning(
    settings: MethodSettings,
    spoil: Callable[[Any], None],
    alarm: Alarm,
    probes: Mapping[str, Callable[[Backbone], float]] | None = None,
) -> tuple[Health, Pretrainee, ViewStream]:
    """All there is before the first step, over a tiny vision transformer."""
    method = tiny_method(settings, "vit", IMAGES)
    spoil(method)
    trainee = Pretrainee(method)
    stream = ViewStream(blobs(), range(IMAGES), method.encoder.backbone.preprocess, VIEWS, 0, RECIPE)
    return Health(trainee, stream, probes or {}, alarm), trainee, stream
