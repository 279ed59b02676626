"""The ladder on real images: pretrained above its random twin, and the twin not below the pixel statistics."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from backbones.catalogue import load
from backbones.features import Extractor, ExtractSettings
from backbones.places import Places
from results.statistics import bootstrap_interval
from tasks.base import Score
from tasks.catalogue import open_dataset, task_class
from tasks.datasets.base import OpenOptions

CARDS = Path(__file__).parent.parent / "cards"
NETS = ["mobilenetv2_100_in1k", "squeezenet1_1_in1k"]
SEEDS = ["", "@1", "@2"]
QUESTIONS = {
    "classification.knn": {"dataset": ["images:cifar10_subset.zip"]},
    "classification.linear": {"dataset": ["images:cifar10_subset.zip"]},
    "ood.shift": {"train": ["images:cifar10_subset.zip"], "test": ["images:cifar10_shift_tinyimagenet.zip"]},
    "retrieval": {"dataset": ["retrieval:grocery_retrieval.zip"]},
}
Items = NDArray[np.float64]


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Items]:
    """The headline metric of every test item."""
    if "BOB_DATA" not in os.environ:
        pytest.skip("needs real data: set BOB_DATA to its folder")
    places, cache = Places((CARDS, Path(os.environ["BOB_DATA"]))), tmp_path_factory.mktemp("cache")
    extract, options = Extractor(ExtractSettings(cache)), OpenOptions(places, cache)

    def answer(name: str, task: str) -> Items:
        question: Any = task_class(task)()
        data = {role: [open_dataset(each, options) for each in names] for role, names in QUESTIONS[task].items()}
        answers = question.run(load(name, places), data, extract, 0)
        scores = [each for each in answers if isinstance(each, Score) and each.metric == question.headline]
        found = next(each.per_sample for each in scores if each.split != "in-distribution")
        assert found is not None
        return np.asarray(found, dtype=np.float64)

    return answer


@pytest.mark.slow
@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("task", QUESTIONS)
def test_pretrained_above_random_twins_not_below_pixels(
    net: str, task: str, items: Callable[[str, str], Items]
) -> None:
    pretrained, pixels = items(f"checkpoint:{net}.yaml", task), items("pixels", task)
    twin = np.mean([items(f"random:checkpoint:{net}.yaml{seed}", task) for seed in SEEDS], axis=0)
    assert bootstrap_interval(pretrained - twin)[0] > 0
    assert bootstrap_interval(twin - pixels)[1] >= 0
