"""Methods with what keeps their vectors apart taken out: they must collapse, and alarms must see it.

BatchNorm in a head is a guard of its own (with it SimSiam's twin makes z alike and leaves the encoder's vectors
as spread as they were), so twins can do without.
"""

import torch
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn.functional import interpolate, normalize

from backbones.pretraining.catalogue import build_method
from backbones.pretraining.encoder import Encoder
from backbones.pretraining.method import Batch, Given, Method, Outputs, Progress, View
from backbones.pretraining.methods.dino import DINO
from backbones.pretraining.methods.simsiam import SimSiam, _SimSiam
from backbones.pretraining.methods.vicreg import VICReg
from backbones.pretraining.parts.embedding import embedded
from backbones.pretraining.parts.mlp import mlp
from backbones.pretraining.views.settings import ViewGroup
from tests.feature_fakes import Wrapped
from tests.pretraining_fakes import updated


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class TwinSimSiam(SimSiam):
    """SimSiam without BatchNorm after z; where not ``guarded`` without predictor and stop-gradient either; where not
    ``head_norm`` without BatchNorm in the projector at all.
    """

    projector: tuple[int, ...] = (32, 32, 32)
    predictor: int = 8
    guarded: bool = False
    head_norm: bool = True

    def build(self, encoder: Encoder, given: Given) -> Method:
        return _TwinSimSiam(self, encoder)


class _TwinSimSiam(_SimSiam):
    def __init__(self, settings: TwinSimSiam, encoder: Encoder) -> None:
        super().__init__(settings, encoder)
        self.guarded = settings.guarded
        self.projector = mlp((encoder.dim, *settings.projector), norm=settings.head_norm)

    def represent(self, batch: Batch) -> Outputs:
        if self.guarded:
            return super().represent(batch)
        z = torch.stack(embedded(nn.Sequential(self.encoder, self.projector), batch.views, together=False), dim=1)
        return {"p": z, "z": z}


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class TwinVICReg(VICReg):
    """VICReg without BatchNorm in its projector; with ``variance`` 0 nothing is left that keeps vectors apart."""

    projector: tuple[int, ...] = (32, 32, 32)

    def build(self, encoder: Encoder, given: Given) -> Method:
        method = super().build(encoder, given)
        method.projector = mlp((encoder.dim, *self.projector), norm=False)
        return method


def pattern_batch(step: int, images: int = 16) -> Batch:
    """Two noisy views of smooth random patterns, new ones every step."""
    generator = torch.Generator().manual_seed(step)
    patterns = interpolate(torch.randn(images, 3, 4, 4, generator=generator), size=32, mode="bilinear")
    noisy = [patterns + torch.randn(patterns.shape, generator=generator) for _ in range(2)]
    whole, straight = torch.tensor([0.0, 0.0, 1.0, 1.0]).expand(images, 4), torch.zeros(images, dtype=torch.bool)
    views = tuple(View(each, whole, straight) for each in noisy)
    return Batch(views, torch.arange(images), Progress(step, 100, 10))


def trained(method: Method, steps: int, rate: float) -> Method:
    """After plain gradient descent on :func:`pattern_batch`."""
    for step in range(steps):
        updated(method, pattern_batch(step), rate)
    return method


def deviation(vectors: Tensor) -> float:
    """Of unit vectors, the mean of dimensions' standard deviations times sqrt(d): 0 where all are alike, 1 where they
    point everywhere.
    """
    return float(normalize(vectors, dim=-1).std(dim=0).mean() * vectors.shape[1] ** 0.5)


@torch.no_grad()
def deviations(method: Method) -> tuple[float, float]:
    """Of the encoder's embeddings and of z, in evaluation mode, on a fixed batch."""
    method.eval()
    vectors = method.encoder(pattern_batch(1000, images=64).views[0].images)
    projector = method.get_submodule("projector")
    found = deviation(vectors), deviation(projector(vectors))
    method.train()
    return found


class _Pixels(Wrapped):
    """A perceptron of 8 x 8 pixels: hundreds of steps take a second."""

    def __init__(self) -> None:
        super().__init__(nn.Sequential(nn.Flatten(), nn.Linear(192, 64), nn.ReLU(), nn.Linear(64, 32)), side=8)

    def layers(self) -> list[tuple[str, list[nn.Parameter]]]:
        return [("perceptron", list(self.module.parameters()))]


def _noisy(images: Tensor, generator: torch.Generator) -> tuple[View, ...]:
    """Two views: the same image, other noise."""
    boxes, flipped = torch.zeros(len(images), 4), torch.zeros(len(images), dtype=torch.bool)
    noise = (0.3 * torch.randn(images.shape, generator=generator) for _ in range(2))
    return tuple(View(images + each, boxes, flipped) for each in noise)


def trained_dino(centre_momentum: float, teacher_temperature: float, seed: int) -> tuple[Method, Batch]:
    """DINO of 16 outputs after 200 steps on 64 images of noise, and views of all of them."""
    settings = DINO(
        views=(ViewGroup(count=2),),
        outputs=16,
        hidden=64,
        bottleneck=16,
        teacher_temperature=(teacher_temperature, teacher_temperature),
        momentum=0.98,
        centre_momentum=centre_momentum,
        frozen_epochs=0,
    )
    torch.manual_seed(seed)
    method = build_method(settings, Encoder(_Pixels()), 64).train()
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(64, 3, 8, 8, generator=generator)
    optimiser = torch.optim.AdamW([each for each in method.parameters() if each.requires_grad], lr=3e-3)
    for step in range(200):
        rows = torch.randperm(64, generator=generator)[:32]
        batch = Batch(_noisy(images[rows], generator), rows, Progress(step, 200, 2))
        method.loss(method.represent(batch), batch.progress).backward()
        optimiser.step()
        optimiser.zero_grad()
        method.after_update(batch.progress)
    return method.eval(), Batch(_noisy(images, generator), torch.arange(64), batch.progress)


def dino_health(centre_momentum: float, teacher_temperature: float, seed: int) -> dict[str, float]:
    """Its own numbers."""
    method, batch = trained_dino(centre_momentum, teacher_temperature, seed)
    return method.health(batch)
