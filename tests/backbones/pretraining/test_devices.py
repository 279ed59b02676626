"""Pretraining on two processes, and after a restart, comes to what one uninterrupted process comes to."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, distributed
from torch.distributed.device_mesh import DeviceMesh

from backbones.pretraining.catalogue import build_method
from backbones.pretraining.encoder import Encoder
from backbones.pretraining.losses.contrastive import info_nce
from backbones.pretraining.method import Batch, Method, MethodSettings, Progress
from backbones.pretraining.methods.byol import BYOL
from backbones.pretraining.methods.deepcluster_v2 import DeepClusterV2
from backbones.pretraining.methods.dino import DINO
from backbones.pretraining.methods.nnclr import NNCLR
from backbones.pretraining.methods.swav import SwAV
from backbones.pretraining.parts.mlp import mlp
from backbones.pretraining.parts.projections import Projections
from backbones.pretraining.pretrainee import Pretrainee
from backbones.pretraining.views.settings import ViewGroup
from backbones.pretraining.views.stream import Item, ViewStream
from backbones.training.execution import Execution
from backbones.training.loop import fit
from backbones.training.outcomes import Fitted
from backbones.training.recipe import Recipe
from backbones.training.saving import weights
from backbones.training.sharding import shard
from tests.feature_fakes import random_images
from tests.pretraining_fakes import tiny_encoder

IMAGES = 24
VIEWS = (ViewGroup(count=2, crop_scale=(0.3, 1.0)),)
RECIPE = Recipe(
    epochs=1, global_batch=8, optimiser="sgd", learning_rate=0.003, momentum=0.9, warmup_epochs=0, weight_decay=0.0
)
"""Of 24 images: 3 steps."""
TOLERANCE = 1e-5
"""The loss is in float32, whose sums in another order differ by 1e-7 of numbers up to 10."""


class Recording(Projections):
    """SimCLR without BatchNorm, which alone would see how a batch is shared; it keeps the gradients of every step."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__(encoder, (32, 16), partial(info_nce, temperature=0.1))
        self.projector = mlp((encoder.dim, 32, 16), norm=False)
        count = sum(parameter.numel() for parameter in self.parameters() if parameter.requires_grad)
        self.gradients = torch.nn.Parameter(torch.zeros(3, count), requires_grad=False)

    def before_update(self, progress: Progress) -> None:
        """One row a step."""
        found = [parameter.grad.flatten() for parameter in self.parameters() if parameter.grad is not None]
        self.gradients[progress.step] = torch.cat(found)


def recording() -> Method:
    torch.manual_seed(1)
    return Recording(tiny_encoder("vit"))


def stream_of(method: Method, recipe: Recipe = RECIPE) -> ViewStream:
    preprocess = method.encoder.backbone.preprocess
    return ViewStream(random_images(IMAGES, side=40), range(IMAGES), preprocess, VIEWS, seed=3, recipe=recipe)


def run(method: Method, **how: Any) -> Fitted:
    execution = Execution(device="cpu", workers=0, channels_last=False, **how)
    return fit(Pretrainee(method), stream_of(method), RECIPE, execution, seed=3)


def difference(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    assert one.keys() == other.keys()
    return max(float((value.double() - other[name].double()).abs().max()) for name, value in one.items())


@pytest.mark.slow
def test_two_processes_have_the_loss_gradients_and_weights_of_one() -> None:
    alone, shared = recording(), recording()
    before = {name: value.clone() for name, value in alone.state_dict().items()}
    expected, found = run(alone), run(shared, devices=2)
    assert [row["loss"] for row in found.history] == pytest.approx([row["loss"] for row in expected.history], abs=1e-5)
    assert float(alone.gradients.norm(dim=1).min()) > 0.1
    assert difference(before, alone.state_dict()) > 0.01
    assert difference(alone.state_dict(), shared.state_dict()) < TOLERANCE


SHARDED: dict[str, MethodSettings] = {
    "byol": BYOL(views=VIEWS, projector=(16, 8), predictor=16),
    "nnclr": NNCLR(views=VIEWS, projector=(16, 8), predictor=(16, 8), queue=12),
    "swav": SwAV(views=VIEWS, projector=(16, 8), prototypes=6, frozen_epochs=0, queue=12, queue_from_epoch=0),
    "deepcluster_v2": DeepClusterV2(views=VIEWS, projector=(16, 8), clusters=4, heads=2),
}
"""With a teacher, with queues, and with a memory."""


@pytest.fixture
def mesh(tmp_path: Path) -> Iterator[DeviceMesh]:
    """Of this process alone: what is sharded over it is told apart from plain tensors as over many."""
    distributed.init_process_group("gloo", store=distributed.FileStore(str(tmp_path / "store")), rank=0, world_size=1)
    yield DeviceMesh("cpu", torch.arange(1), mesh_dim_names=("data_parallel",))
    distributed.destroy_process_group()


@pytest.mark.parametrize("name", SHARDED)
def test_sharded_it_is_the_same(name: str, mesh: DeviceMesh) -> None:
    """Queues and memories are changed row by row, which sharded tensors do not allow: they stay whole."""
    states = []
    for sharded in (False, True):
        torch.manual_seed(2)
        trainee = Pretrainee(build_method(SHARDED[name], tiny_encoder("vit"), IMAGES)).train()
        stream = stream_of(trainee.method)
        if sharded:
            shard(trainee, mesh)
        optimiser = torch.optim.SGD([each for each in trainee.parameters() if each.requires_grad], lr=0.01)
        for step in range(6):
            items = [stream.load(index, epoch=0) for index in range(8 * (step % 3), 8 * (step % 3) + 8)]
            trainee(stream.batch(items, step, torch.device("cpu"))).backward()
            trainee.before_update()
            optimiser.step()
            optimiser.zero_grad()
            trainee.after_update()
        states.append(weights(trainee))
    assert difference(*states) < TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize("name", SHARDED)
def test_sharded_over_two_processes_it_is_the_same(name: str) -> None:
    """As copies on two processes: BatchNorm, which a CPU does not synchronise, tells those from one process."""
    states = []
    for strategy in ("ddp", "fsdp"):
        torch.manual_seed(2)
        method = build_method(SHARDED[name], tiny_encoder("vit"), IMAGES)
        run(method, devices=2, strategy=strategy)
        states.append(weights(method))
    assert difference(*states) < TOLERANCE


def test_devices_that_compared_their_own_images_alone_would_be_seen() -> None:
    """The mean of the losses of halves has another gradient: the tolerance above is not too wide."""
    method = recording()
    stream = stream_of(method)
    items = [stream.load(index, epoch=0) for index in range(8)]
    gradients = []
    for parts in ([items], [items[:4], items[4:]]):
        for part in parts:
            batch = stream.batch(part, 0, torch.device("cpu"))
            (method.loss(method.represent(batch), batch.progress) / len(parts)).backward()
        found = [parameter.grad for parameter in method.parameters() if parameter.grad is not None]
        gradients.append({str(number): gradient.clone() for number, gradient in enumerate(found)})
        method.zero_grad()
    assert difference(*gradients) > 1e3 * TOLERANCE


def test_what_compares_images_is_not_accumulated() -> None:
    with pytest.raises(ValueError, match="compares the items of a batch with each other: global_batch=8 must be one"):
        run(recording(), device_batch=4)


RESUMED: dict[str, MethodSettings] = {
    **SHARDED,
    "dino": DINO(views=VIEWS, outputs=16, hidden=16, bottleneck=8, frozen_epochs=2),
}
LONGER = Recipe(epochs=3, global_batch=8, learning_rate=1e-2, warmup_epochs=1)
"""9 steps."""


class Broken(ViewStream):
    """Cannot read an image of the step ``fatal``; never where that is None."""

    fatal: int | None = None

    def batch(self, items: Sequence[Item], step: int, device: torch.device) -> Batch:
        if step == self.fatal:
            raise OSError("the disk is gone")
        return super().batch(items, step, device)


def pretrained(settings: MethodSettings, folder: Path, fatal: int | None = None) -> tuple[Pretrainee, list[Any]]:
    torch.manual_seed(2)
    method = build_method(settings, tiny_encoder(), IMAGES)
    preprocess = method.encoder.backbone.preprocess
    stream = Broken(random_images(IMAGES, side=40), range(IMAGES), preprocess, VIEWS, seed=3, recipe=LONGER)
    stream.fatal = fatal
    trainee = Pretrainee(method)
    fitted = fit(trainee, stream, LONGER, Execution(device="cpu", workers=0, folder=folder), seed=3)
    return trainee, [fitted.history, fitted.notes.get("resumed")]


@pytest.mark.parametrize("name", RESUMED)
def test_gone_on_with_to_the_last_bit(name: str, tmp_path: Path) -> None:
    """Teachers, queues, centres, centroids and memory banks too, from the middle of an epoch."""
    whole, (history, _) = pretrained(RESUMED[name], tmp_path / "whole")
    with pytest.raises(OSError, match="the disk is gone"):
        pretrained(RESUMED[name], tmp_path / "parts", fatal=4)
    resumed, (again, at) = pretrained(RESUMED[name], tmp_path / "parts")
    assert at == [5]
    assert again == history
    states = whole.state_dict(), resumed.state_dict()
    assert states[0].keys() == states[1].keys()
    different = [key for key, value in states[0].items() if not torch.equal(value, states[1][key])]
    assert different == []
