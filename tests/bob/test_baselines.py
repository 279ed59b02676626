"""The ladder on real images: pretrained above its random twin, and the twin not below the pixel statistics."""

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from backbones.catalogue import load
from backbones.features import Extractor, ExtractSettings
from backbones.places import Places
from results.statistics import bootstrap_interval
from tasks.base import Score, Tools
from tasks.catalogue import open_dataset, task_class
from tasks.datasets.base import OpenOptions

CARDS = Path(__file__).parent.parent / "cards"
NETS = ["mobilenetv2_100_in1k", "squeezenet1_1_in1k"]
SEEDS = ["", "@1", "@2"]
CIFAR = {"dataset": ["images:cifar10_subset.zip"]}
PACS = [f"images:pacs_subset.zip#{domain}" for domain in ("photo", "art_painting", "cartoon", "sketch")]
QUESTIONS: dict[str, tuple[str, dict[str, list[str]]]] = {
    "few-shot": ("classification.few_shot", CIFAR),
    "knn": ("classification.knn", CIFAR),
    "linear": ("classification.linear", CIFAR),
    "shift": ("ood.shift", {"train": CIFAR["dataset"], "test": ["images:cifar10_shift_tinyimagenet.zip"]}),
    "pacs": ("ood.shift", {"train": PACS[:1], "test": PACS[1:]}),
    "retrieval": ("retrieval", {"dataset": ["retrieval:grocery_retrieval.zip"]}),
}
LADDER = [question for question in QUESTIONS if question != "few-shot"]
"""Not few-shot: there eight numbers, with little to overfit, were seen 1 to 3 points above the twins' hundreds."""
Items = NDArray[np.float64]


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Items]:
    """The headline metric of every test item."""
    if "BOB_DATA" not in os.environ:
        pytest.skip("needs real data: set BOB_DATA to its folder")
    places, folder = Places((CARDS, Path(os.environ["BOB_DATA"]))), tmp_path_factory.mktemp("cache")
    extract, options = Extractor(ExtractSettings(folder)), OpenOptions(places, folder)

    @cache
    def answer(name: str, asked: str) -> Items:
        task, names = QUESTIONS[asked]
        question: Any = task_class(task)()
        data = {role: [open_dataset(each, options) for each in given] for role, given in names.items()}
        answers = question.run(load(name, places), data, Tools(extract), 0)
        scores = [each for each in answers if isinstance(each, Score) and each.metric == question.headline]
        found = next(each.per_sample for each in scores if each.split != "in-distribution")
        assert found is not None
        return np.asarray(found, dtype=np.float64)

    return answer


def twins(net: str, question: str, items: Callable[[str, str], Items]) -> Items:
    """Item by item, the mean of three draws of the weights."""
    return np.mean([items(f"random:checkpoint:{net}.yaml{seed}", question) for seed in SEEDS], axis=0)


@pytest.mark.slow
@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("question", QUESTIONS)
def test_pretrained_above_its_random_twins(net: str, question: str, items: Callable[[str, str], Items]) -> None:
    difference = items(f"checkpoint:{net}.yaml", question) - twins(net, question, items)
    assert bootstrap_interval(difference)[0] > 0


@pytest.mark.slow
@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("question", LADDER)
def test_random_twins_not_below_pixels(net: str, question: str, items: Callable[[str, str], Items]) -> None:
    assert bootstrap_interval(twins(net, question, items) - items("pixels", question))[1] >= 0
