"""Copy detection as a task, against scikit-learn on all pairs, and what it refuses."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from sklearn.metrics import average_precision_score

from tasks.datasets.base import Dataset
from tasks.datasets.relevance import Relevance, RowLists
from tasks.features import normalised
from tasks.retrieval.copies import Copies


def relevance(lists: list[list[int]], junk: list[list[int]] | None = None) -> Relevance:
    nothing = RowLists.of([] for _ in lists)
    return Relevance(RowLists.of(lists), nothing, RowLists.of(junk) if junk else nothing)


@pytest.fixture
def copied(world: Any) -> tuple[Dataset, np.ndarray, np.ndarray, np.ndarray]:
    """50 queries, the first 20 each a noisy copy of one of 200 gallery images; a train split of 60."""
    generator = np.random.default_rng(5)
    gallery, train = generator.normal(size=(200, 12)), generator.normal(size=(60, 12)) + 0.5
    queries = generator.normal(size=(50, 12)) + 0.5
    queries[:20] = gallery[40:60] + 0.9 * generator.normal(size=(20, 12))
    matrices = {"query": queries, "gallery": gallery, "train": train}
    splits = {name: (rows.astype(np.float32), np.full(len(rows), -1)) for name, rows in matrices.items()}
    lists = [[40 + row] if row < 20 else [] for row in range(50)]
    dataset = replace(world.dataset("d", (), splits), target="relevance", relevance=relevance(lists))
    return dataset, *(normalised(rows) for rows in (queries, gallery, train))


def test_micro_ap_is_scikit_learns_over_all_pairs(world: Any, copied: Any) -> None:
    dataset, queries, gallery, _ = copied
    answers = world.run(Copies(), dataset=dataset)
    right = np.zeros((50, 200), bool)
    right[np.arange(20), np.arange(40, 60)] = True
    scores = queries @ gallery.T
    assert answers["micro_ap"] == pytest.approx(average_precision_score(right.ravel(), scores.ravel()), abs=1e-6)
    assert 0.1 < answers["micro_ap"] < answers["recall@1"] < 1
    for metric in ("micro_ap", "recall@precision90"):
        assert 0 < np.diff(answers.scores[metric, "test"].interval) < 0.6
    assert answers["recall@1"] == pytest.approx((scores[:20].argmax(1) == np.arange(40, 60)).mean())
    assert answers.notes["queries_without_copy"].value == "30 of 50 rank with the others"
    (seen, other) = (answers.outputs[split] for split in ("test", "without_copy"))
    assert (len(seen["item"]), len(other["item"])) == (20, 30)
    assert seen["right_1"].tolist() == (scores[:20].argmax(1) == np.arange(40, 60)).tolist()
    assert other["nearest_1"].tolist() == [f"gallery/{row:05}.png" for row in scores[20:].argmax(1)]
    np.testing.assert_allclose(other["score_1"], scores[20:].max(1), atol=1e-6)
    assert not other["right_1"].any()


def test_queries_without_a_copy_count(world: Any, copied: Any) -> None:
    """Leaving them out would be another, easier question."""
    dataset = copied[0]
    alone = world.dataset(
        "alone", (), {"query": (copied[1][:20], np.full(20, -1)), "gallery": (copied[2], np.full(200, -1))}
    )
    alone = replace(alone, target="relevance", relevance=relevance([[40 + row] for row in range(20)]))
    assert world.run(Copies(), dataset=alone)["micro_ap"] > world.run(Copies(), dataset=dataset)["micro_ap"] + 0.01


@pytest.mark.parametrize(("beta", "neighbours"), [(1.0, 1), (0.5, 60)])
def test_scores_are_lowered_by_the_mean_of_the_nearest_of_train(
    world: Any, copied: Any, beta: float, neighbours: int
) -> None:
    dataset, queries, gallery, train = copied
    answers = world.run(Copies(beta=beta, neighbours=neighbours), dataset=dataset)
    near = np.sort(queries @ train.T, axis=1)[:, -neighbours:].mean(1)
    right = np.zeros((50, 200), bool)
    right[np.arange(20), np.arange(40, 60)] = True
    expected = average_precision_score(right.ravel(), (queries @ gallery.T - beta * near[:, None]).ravel())
    assert answers["micro_ap"] == pytest.approx(expected, abs=1e-6)
    assert answers["micro_ap"] != pytest.approx(world.run(Copies(), dataset=dataset)["micro_ap"], abs=1e-3)


def test_right_are_those_of_the_class_where_there_is_no_relevance(world: Any, blobs: Any) -> None:
    (asked, ours), (features, theirs) = blobs(40, 8, 1), blobs(120, 8, 2)
    splits = {"query": (asked, np.where(np.arange(40) < 5, 8, ours)), "gallery": (features, theirs)}
    dataset = world.dataset("d", tuple("abcdefghi"), splits)
    answers = world.run(Copies(), dataset=dataset)
    scores = normalised(asked) @ normalised(features).T
    right = splits["query"][1][:, None] == theirs
    assert answers["micro_ap"] == pytest.approx(average_precision_score(right.ravel(), scores.ravel()), abs=1e-6)
    assert len(answers.outputs["without_copy"]["item"]) == 5
    assert set(answers.outputs["test"]["n_positives"]) == {15}


def test_a_constant_encoder_gets_the_share_of_right_pairs(world: Any, copied: Any) -> None:
    dataset = copied[0]
    for split in ("query", "gallery", "train"):
        images = dataset.splits[split].images
        world.features[images.identity] = np.full((len(images), 5), 0.3, np.float32)
    for task in (Copies(), Copies(beta=1.0)):
        answers = world.run(task, dataset=dataset)
        assert answers["micro_ap"] == pytest.approx(20 / (50 * 200))
        assert answers["recall@1"] == pytest.approx(1 / 200)
        assert answers.notes["collapsed"].warning


def test_what_is_refused(world: Any, copied: Any) -> None:
    dataset = copied[0]

    def why(task: Copies, other: Dataset) -> str:
        return task.refusal(world.nobody, {"dataset": [other]}) or ""

    without = {name: split for name, split in dataset.splits.items() if name != "train"}
    assert "no query has a copy" in why(Copies(), replace(dataset, relevance=relevance([[]] * 50)))
    assert "0 images in train, and beta 1.0 needs 10" in why(Copies(beta=1), replace(dataset, splits=without))
    assert "60 images in train, and beta 1.0 needs 61" in why(Copies(beta=1, neighbours=61), dataset)
    assert "has no images in gallery" in why(Copies(), replace(dataset, splits={"query": dataset.splits["query"]}))
    assert "no readout 'nowhere'" in why(Copies(readout="nowhere"), dataset)
    assert "(captions)" in why(Copies(), replace(dataset, target="captions", relevance=None))
    with pytest.raises(ValueError, match="no query has a copy"):
        world.run(Copies(), dataset=replace(dataset, relevance=relevance([[]] * 50)))


@pytest.mark.parametrize("settings", [{"beta": -1}, {"beta": 5}, {"neighbours": 0}, {"candidates": 10}])
def test_bad_settings_are_named(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(settings))):
        Copies(**settings)
