"""Image-text retrieval against ranking by hand, closed forms of chance, open_clip's own towers, and who is refused."""

import json
from dataclasses import replace
from math import comb
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from backbones.base import freeze
from backbones.catalogue import load
from backbones.features import Extractor, ExtractSettings
from backbones.images import decode, to_pil
from backbones.preprocessing import reference_transform
from backbones.text_features import TextExtractor
from tasks.base import Outputs, Score, Tools
from tasks.datasets.base import Dataset, Split
from tasks.retrieval import search
from tasks.retrieval.image_text import ImageText
from tests.feature_fakes import Speaking, random_images

WAYS = ("text_to_image", "image_to_text")
CUTOFFS = (1, 5, 10)


class Telling(Speaking):
    """Its text tower knows the vector of every caption."""

    def __init__(self, vectors: dict[str, np.ndarray]) -> None:
        super().__init__()
        self.vectors = vectors

    def vector(self, prompt: str) -> Tensor:
        return torch.from_numpy(self.vectors[prompt])


def captioned(world: Any, features: np.ndarray, captions: tuple[tuple[str, ...], ...]) -> Dataset:
    plain: Dataset = world.dataset("d", (), {"test": (features, np.full(len(features), -1))})
    return replace(plain, splits={"test": replace(plain.splits["test"], captions=captions)}, target="captions")


@pytest.fixture
def pairs() -> tuple[np.ndarray, tuple[tuple[str, ...], ...], dict[str, np.ndarray]]:
    """40 images with 1 to 7 captions, whose vectors are noisy copies of their image's, of any length."""
    generator = np.random.default_rng(3)
    features = generator.normal(size=(40, 12)).astype(np.float32)
    captions = tuple(tuple(f"{row} said {n}" for n in range(1 + row % 7)) for row in range(40))
    vectors = {
        text: (generator.uniform(0.1, 9) * (features[row] + 2 * generator.normal(size=12))).astype(np.float32)
        for row, texts in enumerate(captions)
        for text in texts
    }
    return features, captions, vectors


@pytest.mark.parametrize("most", [2, 5])
@pytest.mark.parametrize("held", [2**25, 100])
def test_recalls_are_those_of_sorting_everything(
    world: Any, pairs: Any, monkeypatch: pytest.MonkeyPatch, held: int, most: int
) -> None:
    """No two similarities are equal, so that one order is the only one."""
    monkeypatch.setattr(search, "HELD", held)
    features, captions, vectors = pairs
    answers = world.run(
        ImageText(captions=most), backbone=Telling(vectors), dataset=captioned(world, features, captions)
    )
    texts = [(row, text) for row, several in enumerate(captions) for text in several[:most]]
    told = np.stack([vectors[text] for _, text in texts])
    cosine = (features / np.linalg.norm(features, axis=1)[:, None]) @ (told / np.linalg.norm(told, axis=1)[:, None]).T
    ranks = {"text_to_image": [], "image_to_text": []}
    for column, (row, _) in enumerate(texts):
        ranks["text_to_image"].append(np.argsort(-cosine[:, column]).tolist().index(row) + 1)
    for row in range(40):
        order = np.argsort(-cosine[row]).tolist()
        ranks["image_to_text"].append(min(order.index(c) + 1 for c, (whose, _) in enumerate(texts) if whose == row))
    expected = {(way, k): np.mean(np.array(ranks[way]) <= k) for way in WAYS for k in CUTOFFS}
    assert 0 < min(expected.values()) < max(expected.values()) < 1
    for (way, k), value in expected.items():
        assert answers.value(f"{way}_recall@{k}", way) == pytest.approx(value)
    for way in WAYS:
        assert answers.outputs[way]["first_rank"].tolist() == ranks[way]
        assert answers.value("median_rank", way) == np.median(ranks[way])
    assert answers["mean_recall"] == pytest.approx(np.mean(list(expected.values())))
    assert list(answers.outputs["text_to_image"]["item"][:4]) == [
        *("test/00000.png#0", "test/00001.png#0", "test/00001.png#1", "test/00002.png#0")
    ]
    assert answers.notes["captions"].value == f"{len(texts)} captions of 40 images"


def test_a_constant_encoder_gets_chance(world: Any) -> None:
    captions = tuple(tuple(f"{row} said {n}" for n in range(5)) for row in range(30))
    same = Telling({text: np.full(8, 2.0, np.float32) for several in captions for text in several})
    answers = world.run(ImageText(), backbone=same, dataset=captioned(world, np.ones((30, 8), np.float32), captions))
    for k in CUTOFFS:
        assert answers.value(f"text_to_image_recall@{k}", "text_to_image") == pytest.approx(k / 30)
        assert answers.value(f"image_to_text_recall@{k}", "image_to_text") == pytest.approx(
            1 - comb(145, k) / comb(150, k)
        )
    assert answers.value("median_rank", "text_to_image") == pytest.approx(15.5)
    assert answers.notes["collapsed"].warning


def test_images_without_a_caption_are_left_out_and_counted(world: Any, pairs: Any) -> None:
    features, captions, vectors = pairs
    some = tuple(several if row % 4 else () for row, several in enumerate(captions))
    answers = world.run(ImageText(), backbone=Telling(vectors), dataset=captioned(world, features, some))
    kept = [row for row in range(40) if row % 4]
    alone = captioned(world, features[kept], tuple(captions[row] for row in kept))
    expected = world.run(ImageText(), backbone=Telling(vectors), dataset=alone)
    assert answers.notes["images_without_caption"].value == "10 of 40 images are left out"
    assert answers.notes["images_without_caption"].warning
    assert answers["mean_recall"] == expected["mean_recall"]
    assert list(answers.outputs["image_to_text"]["item"]) == [f"test/{row:05}.png" for row in kept]


@torch.no_grad()
def test_from_files_to_ranks_as_open_clips_own_towers_have_it(tmp_path: Path) -> None:
    clip: Any = freeze(load("random:open_clip:test_vit"))
    images = random_images(6, 64)
    captions = tuple((f"picture number {row}", f"a {'very ' * row} noisy one") for row in range(6))
    split = Split(images, np.full(6, -1), tuple(images.names), captions=captions)
    dataset = Dataset("pictures", (), {"test": split}, "manifest", "none", "tests", 6, 6, target="captions")
    settings = ExtractSettings(tmp_path, device="cpu", workers=1)
    text = TextExtractor(settings)
    task = ImageText(template="a photo of {}")
    found = list(task.run(clip, {"dataset": [dataset]}, Tools(Extractor(settings), embed_text=text), 0))
    transform = reference_transform(clip.preprocess)
    batch = torch.stack([transform(to_pil(decode(images.read(row)))) for row in range(6)])
    tokens = open_clip.get_tokenizer("test_vit")([f"a photo of {one}" for several in captions for one in several])
    cosine = clip.model.encode_image(batch, normalize=True) @ clip.model.encode_text(tokens, normalize=True).T
    right = cosine.reshape(6, 6, 2)[torch.arange(6), torch.arange(6)]
    ranks = {
        "text_to_image": 1 + (cosine > right.reshape(12)).sum(0),
        "image_to_text": 1 + (cosine > right.max(1, keepdim=True).values).sum(1),
    }
    for outputs in (each for each in found if isinstance(each, Outputs)):
        assert outputs.columns["first_rank"].tolist() == ranks[outputs.split].tolist()
    values = {each.metric: each.value for each in found if isinstance(each, Score)}
    assert values["text_to_image_recall@1"] == pytest.approx((ranks["text_to_image"] == 1).float().mean().item())
    assert [facts.from_cache for facts in text.used] == [False]
    list(task.run(clip, {"dataset": [dataset]}, Tools(Extractor(settings), embed_text=text), 0))
    assert [facts.from_cache for facts in text.used] == [False, True]


@pytest.mark.parametrize(
    ("captions", "words"),
    [
        (None, "dataset 'd': no image of its test split has captions"),
        (((), ()), "no image of its test split has captions"),
        ((("a", " "), ("b",)), "1 captions are empty (first: one of 'test/00000.png')"),
        ((("a",), ()), "has 1 images with a caption; it takes two"),
    ],
)
def test_sets_without_captions_are_refused(world: Any, captions: Any, words: str) -> None:
    dataset = captioned(world, np.eye(2, 8, dtype=np.float32), captions)
    assert words in (ImageText().refusal(Speaking(), {"dataset": [dataset]}) or "")
    with pytest.raises(ValueError, match="dataset 'd'"):
        world.run(ImageText(), backbone=Speaking(), dataset=dataset)


def test_backbones_without_a_text_tower_and_towers_of_different_widths(world: Any, pairs: Any) -> None:
    features, captions, vectors = pairs
    dataset = captioned(world, features, captions)
    assert "has no text tower" in (ImageText().refusal(world.nobody, {"dataset": [dataset]}) or "")
    with pytest.raises(ValueError, match="images in 5 dimensions and text in 12"):
        world.run(ImageText(), backbone=Telling(vectors), dataset=captioned(world, features[:, :5], captions))


@pytest.mark.parametrize("settings", [{"captions": 0}, {"template": "a photo"}, {"template": ""}, {"folds": 5}])
def test_bad_settings_are_named(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(settings))):
        ImageText(**settings)


def test_a_plan_with_a_set_of_karpathys(bob: Any) -> None:
    """From the command line to the record; other tasks say why they cannot use such a set."""
    folder = bob.folder / "flickr30k"
    (folder / "flickr30k-images").mkdir(parents=True)
    images, pictures = [], random_images(4, 64)
    for row in range(4):
        (folder / "flickr30k-images" / f"{row}.png").write_bytes(pictures.read(row))
        images.append({"filename": f"{row}.png", "split": "test", "sentences": [{"raw": f"number {row}"}]})
    (folder / "dataset_flickr30k.json").write_text(json.dumps({"images": images, "dataset": "flickr30k"}))
    (bob.folder / "plan.yaml").write_text(
        "backbones: ['random:open_clip:test_vit', pixels]\n"
        "tasks:\n"
        "  - {task: retrieval.image_text, dataset: 'karpathy:flickr30k#test'}\n"
        "  - {task: retrieval, dataset: 'karpathy:flickr30k#test'}\n"
    )
    code, log = bob("run", "plan.yaml")
    assert code == 0, log
    assert "1 cells computed" in log
    told = bob("plan", "plan.yaml")[1]
    assert "has no text tower" in told
    assert "has texts that describe each image (captions)" in told
