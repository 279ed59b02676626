"""DeepCluster-v2: the memory by row, the first epoch, clusters after each, and the loss against a loop."""

import math
from dataclasses import replace

import pytest
import torch
from sklearn.metrics import adjusted_rand_score
from torch import Tensor
from torch.nn.functional import normalize

from backbones.pretraining.catalogue import build_method
from backbones.pretraining.losses.clustering import UNKNOWN, cluster_prediction
from backbones.pretraining.method import Batch, Method, Progress
from backbones.pretraining.methods.deepcluster_v2 import DeepClusterV2
from backbones.pretraining.views.settings import ViewGroup
from tests.pretraining_fakes import random_batch, tiny_encoder, tiny_method, updated

SETTINGS = DeepClusterV2(projector=(16, 8), clusters=6, heads=3)
IMAGES, SIZE = 32, 8


def batch(step: int, rows: Tensor | None = None) -> Batch:
    """Batches of 8 of 32 images, always the same, with rows as a step of an epoch shows them."""
    part = step % (IMAGES // SIZE)
    drawn = random_batch(SIZE, seed=part, progress=Progress(step, total=40, steps_an_epoch=IMAGES // SIZE))
    return drawn._replace(rows=torch.arange(part * SIZE, (part + 1) * SIZE) if rows is None else rows)


def after(steps: int, settings: DeepClusterV2 = SETTINGS, kind: str = "cnn") -> tuple[Method, list[float]]:
    method = tiny_method(settings, kind, images=IMAGES)
    return method, [updated(method, batch(step)) for step in range(steps)]


def test_the_first_epoch_fills_the_memory_and_moves_no_weight() -> None:
    method = tiny_method(SETTINGS, images=IMAGES)
    first = {name: value.clone() for name, value in method.named_parameters() if value.requires_grad}
    for step in range(4):
        assert not method.get_parameter("centroids").any()
        shown = batch(step)
        z = method.represent(shown)["z"].detach()
        assert updated(method, shown) == 0
        assert torch.equal(method.get_parameter("memory")[:, shown.rows], z.transpose(0, 1))
    assert all(torch.equal(value, method.get_parameter(name)) for name, value in first.items())
    memory, centroids = method.get_parameter("memory"), method.get_parameter("centroids")
    assert torch.allclose(memory.norm(dim=-1), torch.ones(2, IMAGES))
    assert torch.allclose(centroids.norm(dim=-1), torch.ones(3, 6))
    assert not torch.allclose(centroids[0], centroids[2])  # of the same memory, from other first points


def test_rows_are_where_vectors_go() -> None:
    method, rows = tiny_method(SETTINGS, images=IMAGES), torch.tensor([31, 3, 17, 5, 8, 0, 30, 2])
    z = method.represent(batch(0, rows))["z"].detach()
    updated(method, batch(0, rows))
    memory = method.get_parameter("memory")
    for place, row in enumerate(rows):
        assert torch.equal(memory[:, row], z[place])
    left = [row for row in range(IMAGES) if row not in rows.tolist()]
    assert not memory[:, left].any()


def test_the_loss_against_a_loop() -> None:
    method, _ = after(4, replace(SETTINGS, heads=2))
    z = normalize(torch.randn(8, 3, 8, generator=torch.Generator().manual_seed(3)), dim=-1)
    rows = torch.arange(4, 12)
    memory, centroids, total = method.get_parameter("memory"), method.get_parameter("centroids"), 0.0
    for head in range(2):
        for place, row in enumerate(rows):
            target = int((centroids[head] @ memory[head, row]).argmax())
            for view in range(3):
                like = [math.exp(float(each @ z[place, view]) / 0.1) for each in centroids[head]]
                total -= math.log(like[target] / sum(like))
    found = method.loss({"z": z, "rows": rows}, Progress(4, total=40, steps_an_epoch=4))
    assert float(found) == pytest.approx(total / (2 * 8 * 3), abs=1e-5)


def test_images_of_unknown_cluster_are_left_out() -> None:
    scores = torch.rand(4, 2, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    clusters = torch.tensor([1, UNKNOWN, 4, UNKNOWN])
    found = cluster_prediction(scores, clusters, 0.1)
    assert float(found) == pytest.approx(float(cluster_prediction(scores[[0, 2]], clusters[[0, 2]], 0.1)), abs=1e-14)
    assert float(cluster_prediction(scores, torch.full((4,), UNKNOWN), 0.1)) == 0


def test_images_that_no_epoch_has_shown_do_not_count() -> None:
    method = tiny_method(SETTINGS, images=IMAGES + 4)
    for step in range(4):
        updated(method, batch(step))
    shown = torch.arange(IMAGES - 4, IMAGES + 4)
    outputs = method.represent(batch(4, shown))
    whole = method.loss(outputs, batch(4).progress)
    known = method.loss({name: value[:4] for name, value in outputs.items()}, batch(4).progress)
    assert float(whole) == pytest.approx(float(known), rel=1e-6)


@pytest.mark.parametrize("kind", ["cnn", "vit"])
def test_epochs_lower_the_loss(kind: str) -> None:
    _, losses = after(16, kind=kind)
    assert sum(losses[4:8]) / 4 > sum(losses[12:]) / 4 + 0.3


def test_clusters_are_those_of_the_images() -> None:
    """Where the encoder tells four kinds of images apart from the start, so do the clusters."""
    kinds = torch.arange(4).repeat(IMAGES // 4)
    patterns = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 3
    method = tiny_method(replace(SETTINGS, clusters=4), "vit", images=IMAGES)
    for step in range(4):
        shown = batch(step)
        alike = [view._replace(images=patterns[kinds[shown.rows]] + 0.01 * view.images) for view in shown.views]
        updated(method, shown._replace(views=tuple(alike)))
    memory, centroids = method.get_parameter("memory"), method.get_parameter("centroids")
    for head in range(3):
        assert adjusted_rand_score(kinds, (memory[head % 2] @ centroids[head].T).argmax(1)) == 1


@pytest.mark.parametrize("steps", [3, 6, 7])
def test_a_restart_changes_no_bit_also_where_an_epoch_ends(steps: int) -> None:
    method, _ = after(steps)
    other = tiny_method(SETTINGS, images=IMAGES, seed=7)
    other.load_state_dict(method.state_dict())
    torch.manual_seed(steps)  # whatever chance did elsewhere
    for step in range(steps, steps + 2):
        assert updated(method, batch(step)) == updated(other, batch(step))
        torch.rand(3)
    for key, value in method.state_dict().items():
        assert torch.equal(value, other.state_dict()[key]), key


def test_small_views_learn_too_and_are_not_remembered() -> None:
    views = (ViewGroup(count=2), ViewGroup(size=16))
    method = build_method(replace(SETTINGS, views=views), tiny_encoder(), IMAGES).train()
    shown = random_batch(SIZE, sizes=(32, 32, 16))._replace(rows=torch.arange(SIZE))
    assert method.represent(shown)["z"].shape == (SIZE, 3, 8)
    updated(method, shown)
    assert method.get_parameter("memory").shape == (2, IMAGES, 8)


def test_settings_that_do_not_go_together_are_refused() -> None:
    with pytest.raises(ValueError, match="clusters=20 is too many for 32 images; use at most 16"):
        tiny_method(replace(SETTINGS, clusters=20), images=IMAGES)
    with pytest.raises(ValueError, match="at least 2 views"):
        tiny_method(replace(SETTINGS, views=(ViewGroup(),)))
