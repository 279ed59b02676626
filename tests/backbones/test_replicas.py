"""Copies of a model side by side: the same answers as one model alone, and none where copies could meet."""

import numpy as np
import pytest
import torch
from torch import nn

from backbones.base import Backbone
from backbones.catalogue import load
from backbones.feature_run import FeatureRun
from backbones.inference import arrange
from backbones.places import Places
from backbones.replicas import replicas
from tests.feature_fakes import Fake, Wrapped, random_images

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def features(backbone: Backbone, workers: int, rows: int = 40) -> np.ndarray:
    with FeatureRun(backbone, random_images(rows), "pooled", CPU, workers, "float32", 4) as run:
        return np.concatenate(list(run.outputs([range(rows)])))


@pytest.mark.parametrize(
    "name",
    [
        "random:torchvision:squeezenet1_1",
        "random:timm:test_vit",
        pytest.param("random:timm:test_convnext", marks=pytest.mark.slow),
        "pixels",
    ],
)
def test_side_by_side_as_alone(name: str) -> None:
    """torchvision's adapter hooks into its model in every pass: copies must not see each other's hooks."""
    expected = features(load(name), 1)
    for _ in range(2):
        np.testing.assert_allclose(features(load(name), 4), expected, atol=1e-5, rtol=1e-4)


def test_copies_share_weights_and_nothing_else() -> None:
    backbone = load("random:timm:test_resnet")
    sample = torch.randn(2, 3, *backbone.preprocess.size, generator=torch.Generator().manual_seed(0))
    frozen = arrange(backbone, "pooled", sample)
    one, two = replicas(frozen, sample, 2)
    weights, modules = [{id(each) for each in copy.backbone.parameters()} for copy in (one, two)], set()
    assert weights[0] == weights[1] == {id(each) for each in frozen.backbone.parameters()}
    for copy in (frozen, one, two):
        modules |= {id(module) for module in copy.backbone.modules()}
    assert len(modules) == 3 * len(list(frozen.backbone.modules()))


KEPT: dict[str, torch.Tensor] = {}


def keep(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
    KEPT["last"] = output


class Recipe(nn.Module):
    """The usual recipe for features of a layer: a hook that leaves them in a global."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer
        layer.register_forward_hook(keep)

    def forward(self, images):
        self.layer(images)
        torch.randn(200, 200).inverse()  # long enough for another thread to come between
        return KEPT["last"].mean((2, 3))


class Global(nn.Module):
    """A user's own class: what it reads and writes elsewhere cannot be seen."""

    def forward(self, images):
        return images.mean((2, 3))


@pytest.mark.parametrize("module", [Recipe(nn.Conv2d(3, 4, 3)), Global()])
def test_modules_of_a_users_own_run_one_at_a_time(module: nn.Module) -> None:
    backbone = Wrapped(module, side=16)
    sample = torch.randn(2, 3, 16, 16)
    assert not replicas(arrange(backbone, "pooled", sample), sample, 2)
    assert np.array_equal(features(backbone, 4), features(backbone, 4))


def test_hooks_on_a_librarys_module_forbid_copies() -> None:
    backbone = load("random:timm:test_resnet")
    backbone.get_submodule("model.layer1").register_forward_hook(keep)
    sample = torch.randn(2, 3, *backbone.preprocess.size)
    assert not replicas(arrange(backbone, "pooled", sample), sample, 2)


def test_a_users_file_of_plain_modules_is_copied(tmp_path) -> None:
    (tmp_path / "mine.py").write_text(
        "from torch import nn\n"
        "def build():\n"
        "    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())\n"
    )
    backbone = load("file:mine.py:build", Places((tmp_path,)))
    sample = torch.randn(2, 3, *backbone.preprocess.size)
    assert len(replicas(arrange(backbone, "pooled", sample), sample, 3)) == 3


def test_batches_of_a_core_shrink_with_the_image() -> None:
    sizes = {}
    for side in (32, 224, 448, 1024):
        backbone = load("random:timm:test_resnet")
        backbone.preprocess = Fake(side=side).preprocess
        with FeatureRun(backbone, random_images(3), "pooled", CPU, 2, "float32", None) as run:
            sizes[side] = run.forward.batch_size
    assert sizes == {32: 32, 224: 8, 448: 2, 1024: 1}
