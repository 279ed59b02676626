"""Small trainings of methods as they are meant, and twins that must fail: what keeps them from collapsing taken out."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from backbones.base import Backbone
from backbones.places import Places
from backbones.pretraining.catalogue import build_method
from backbones.pretraining.encoder import encoder_over
from backbones.pretraining.fresh import fresh
from backbones.pretraining.health.health import Alarm, Health
from backbones.pretraining.method import Batch, MethodSettings, Outputs, Progress
from backbones.pretraining.methods.byol import BYOL
from backbones.pretraining.methods.dino import DINO
from backbones.pretraining.methods.simclr import SimCLR
from backbones.pretraining.methods.simsiam import SimSiam
from backbones.pretraining.methods.swav import SwAV
from backbones.pretraining.methods.vicreg import VICReg
from backbones.pretraining.pretrainee import Pretrainee
from backbones.pretraining.views.settings import ViewGroup
from backbones.pretraining.views.stream import ViewStream
from backbones.training.execution import Execution
from backbones.training.loop import fit
from backbones.training.recipe import Recipe
from tests.feature_fakes import MemoryImages
from tests.pixel_fakes import encoded

SIZE, IMAGES = 8, 128
VIEWS = (ViewGroup(count=2, crop_scale=(0.5, 1.0), jitter=0.8, brightness=0.2, contrast=0.2, saturation=0.2),)
RECIPE = Recipe(
    epochs=4, global_batch=32, learning_rate=5e-3, warmup_epochs=0.5, weight_decay=0.0, minimum_learning_rate=1e-3
)


@dataclass(frozen=True)
class Pair:
    """A method's settings, and how it becomes its twin, in place."""

    settings: MethodSettings
    spoil: Callable[[Any], None]


def blobs(count: int = IMAGES, side: int = SIZE) -> MemoryImages:
    """Smooth random colours."""
    generator = np.random.default_rng(0)
    coarse = generator.integers(0, 256, (count, 4, 4, 3), dtype=np.uint8)
    return MemoryImages(
        [encoded(np.asarray(Image.fromarray(each).resize((side, side), Image.Resampling.BICUBIC))) for each in coarse]
    )


def trainee_of(settings: MethodSettings, spoil: Callable[[Any], None] | None, seed: int) -> Pretrainee:
    """Over a small residual network for images of :data:`SIZE` pixels."""
    kwargs = {"channels": (16, 16, 32, 32), "layers": (1, 1, 1, 1)}
    encoder = encoder_over(fresh("small_stem:resnet18", kwargs, SIZE, seed, Places()))
    torch.manual_seed(seed)
    method = build_method(settings, encoder, IMAGES)
    if spoil is not None:
        spoil(method)
    return Pretrainee(method)


def beginning(
    settings: MethodSettings,
    spoil: Callable[[Any], None] | None,
    alarm: Alarm,
    seed: int = 0,
    probes: Mapping[str, Callable[[Backbone], float]] | None = None,
) -> tuple[Health, Pretrainee, ViewStream]:
    """All there is before the first step."""
    images, trainee = blobs(), trainee_of(settings, spoil, seed)
    preprocess = trainee.method.encoder.backbone.preprocess
    stream = ViewStream(images, range(IMAGES), preprocess, settings.views, seed, RECIPE)
    return Health(trainee, stream, probes or {}, alarm), trainee, stream


def after_training(
    settings: MethodSettings, spoil: Callable[[Any], None] | None, alarm: Alarm, seed: int = 0
) -> tuple[Health, Pretrainee]:
    """A health that has not been asked yet, and what was trained."""
    health, trainee, stream = beginning(settings, spoil, alarm, seed)
    fit(trainee, stream, RECIPE, Execution(device="cpu", workers=0, channels_last=False), seed)
    return health, trainee


def without_predictor_and_stop_gradient(method: Any) -> None:
    """Both views move towards each other."""

    def represent(batch: Batch) -> Outputs:
        z = torch.stack([method.projector(method.encoder(view.images)) for view in batch.views], dim=1)
        return {"p": z, "z": z}

    method.represent = represent


def without_predictor(method: Any) -> None:
    """The student is drawn to its own average."""
    method.predictor = nn.Identity()


def without_sinkhorn(method: Any) -> None:
    """Codes are the softmax of the scores: one prototype may take all."""
    method._codes = lambda scores, view: (scores / method.settings.epsilon).softmax(1)


def with_shuffled_positives(method: Any) -> None:
    """A view attracts that of another image, at every step of another one."""
    honest = method.loss

    def loss(outputs: Outputs, progress: Progress) -> Tensor:
        first, second = outputs["z"].unbind(1)
        return cast(Tensor, honest({"z": torch.stack([first, second.roll(1 + progress.step % 7, 0)], 1)}, progress))

    method.loss = loss


def as_it_is(method: Any) -> None:
    """The settings alone make the twin."""


HEADS = {"outputs": 64, "hidden": 512, "bottleneck": 64, "frozen_epochs": 0, "momentum": 0.99}
HONEST: dict[str, MethodSettings] = {
    "simsiam": SimSiam(views=VIEWS, projector=(64, 64), predictor=16),
    "byol": BYOL(views=VIEWS, projector=(64, 32), predictor=64, momentum=0.9),
    "vicreg": VICReg(views=VIEWS, projector=(64, 64)),
    "dino": DINO(views=VIEWS, **HEADS),
    "swav": SwAV(views=VIEWS, projector=(64, 32), prototypes=32, frozen_epochs=0),
    "simclr": SimCLR(views=VIEWS, projector=(64, 32), temperature=0.2),
}
TWINS: dict[str, Pair] = {
    "simsiam": Pair(HONEST["simsiam"], without_predictor_and_stop_gradient),
    "byol": Pair(HONEST["byol"], without_predictor),
    "vicreg": Pair(VICReg(views=VIEWS, projector=(64, 64), variance=0.0), as_it_is),
    "dino": Pair(DINO(views=VIEWS, **HEADS, centre_momentum=1.0, teacher_temperature=(0.1, 0.1)), as_it_is),
    "swav": Pair(HONEST["swav"], without_sinkhorn),
    "simclr": Pair(HONEST["simclr"], with_shuffled_positives),
}
