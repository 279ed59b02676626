"""The probe: what it counts by hand, and that it leaves a backbone as it was."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from backbones.base import Backbone, Card, Preprocess
from backbones.features import ExtractSettings
from bob.probing import Prober, kept_bytes, probe
from tasks.catalogue import open_dataset
from tasks.datasets.base import Dataset, OpenOptions


class Two(Backbone):
    """Two linear layers with a ReLU between."""

    def __init__(self) -> None:
        super().__init__()
        self.card = Card("two", "random", "a", 0, "m", "d", "s", "r", "l", "0")
        self.preprocess = Preprocess((8, 8), 8, "squash", "bilinear", (0.5,) * 3, (0.5,) * 3)
        self.first, self.second = nn.Linear(192, 16, bias=False), nn.Linear(16, 4, bias=False)
        self.seen = 0

    def embed(self, images: Tensor) -> Tensor:
        self.seen += len(images)
        answer: Tensor = self.second(self.first(images.flatten(1)).relu())
        return answer

    def feature_maps(self, images: Tensor) -> dict[int, Tensor]:
        raise NotImplementedError

    def layers(self) -> list[tuple[str, list[nn.Parameter]]]:
        return [("all", list(self.parameters()))]


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return open_dataset("digits", OpenOptions(cache=tmp_path_factory.mktemp("cache")))


def test_what_a_backward_pass_needs_is_counted_once() -> None:
    """The input of each layer, and the ReLU's output, which is the input of the second: 192 and 16 numbers an image."""
    assert kept_bytes(Two(), torch.zeros(3, 3, 8, 8)) == 3 * (192 + 16) * 4


def test_a_probe_sees_few_images_and_changes_nothing(digits: Dataset, tmp_path: Path) -> None:
    backbone = Two()
    for parameter in backbone.parameters():
        parameter.requires_grad_(False)
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    found = probe(
        backbone, next(iter(digits.splits.values())).images, ExtractSettings(tmp_path, "cpu", 1, batch_size=4)
    )
    assert found.seconds > 0
    assert found.gpu_memory_gb is None
    assert found.weights_gb == 4 * (192 * 16 + 16 * 4) / 2**30
    assert found.kept_gb == (192 + 16) * 4 / 2**30
    assert 0.05 < found.memory_gb < 50
    assert backbone.seen < 40
    assert all(torch.equal(value, before[name]) for name, value in backbone.state_dict().items())
    assert not any(parameter.requires_grad for parameter in backbone.parameters())
    assert not list(tmp_path.iterdir())


def test_each_backbone_is_probed_once_on_each_dataset_and_a_failure_is_told(digits: Dataset, tmp_path: Path) -> None:
    class Broken(Two):
        def embed(self, images: Tensor) -> Tensor:
            raise RuntimeError("broken inside")

    there: dict[str, Any] = {"two": Two(), "broken": Broken()}
    said: list[str] = []
    roster: Any = SimpleNamespace(get=there.__getitem__)
    prober = Prober(roster, ExtractSettings(tmp_path, "cpu", 1), said.append)
    cells: list[Any] = [
        SimpleNamespace(loaded_as=name, backbone=name, question=SimpleNamespace(data={"dataset": [digits]}))
        for name in ("two", "broken", "broken", "two")
    ]
    found = [prober(cell) for cell in cells]
    assert found[0] is found[3]
    assert found[1] is found[2] is None
    assert said == ["no probe of broken on digits: RuntimeError: broken inside"]
