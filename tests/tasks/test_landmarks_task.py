"""Landmark retrieval against walking down each ranking by hand, junk struck out."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tasks.datasets.base import Dataset
from tasks.datasets.relevance import Relevance, RowLists
from tasks.features import normalised
from tasks.retrieval.landmarks import JudgedRetrieval, Landmarks
from tasks.retrieval.refined import Refined
from tasks.retrieval.retrieval import Retrieval

LEVELS = {"easy": ("easy", "hard"), "medium": ("both", ""), "hard": ("hard", "easy")}


def judged(world: Any, queries: np.ndarray, gallery: np.ndarray, lists: list[tuple[list[int], ...]]) -> Dataset:
    """``lists`` holds easy, hard and junk rows of each query."""
    none = {"query": (queries, np.full(len(queries), -1)), "gallery": (gallery, np.full(len(gallery), -1))}
    plain: Dataset = world.dataset("landmarks", (), none)
    easy, hard, junk = (RowLists.of([one[grade] for one in lists]) for grade in range(3))
    return replace(plain, target="relevance", relevance=Relevance(easy, hard, junk))


@pytest.fixture
def made(world: Any) -> tuple[Dataset, np.ndarray, list[tuple[list[int], ...]]]:
    """Twelve queries; the last two have no hard or no easy answer, and one has none at all."""
    generator = np.random.default_rng(5)
    queries, gallery = (normalised(generator.normal(size=(rows, 6))) for rows in (12, 50))
    lists = []
    for _ in range(12):
        rows = generator.permutation(50).tolist()
        lists.append((rows[:4], rows[4:9], rows[9:15]))
    lists[10] = (lists[10][0], [], lists[10][2])
    lists[11] = ([], lists[11][1], [])
    lists[3] = ([], [], [1])
    return judged(world, queries, gallery, lists), queries @ gallery.T, lists


def walked(line: np.ndarray, right: list[int], ignored: list[int]) -> dict[str, float]:
    """Down the ranking, answer by answer."""
    order = [row for row in np.argsort(-line).tolist() if row not in ignored]
    ranks = [rank for rank, row in enumerate(order) if row in right]
    before = [1.0 if rank == 0 else found / rank for found, rank in enumerate(ranks)]
    at = [(found + 1) / (rank + 1) for found, rank in enumerate(ranks)]
    values = {"mAP": float(np.mean(before + at)), "mAP_at_ranks": float(np.mean(at))}
    for k in (1, 5, 10):
        last = min(k, ranks[-1] + 1)
        values[f"mP@{k}"] = sum(rank < last for rank in ranks) / last
    return values | {"first": order[0]}


def test_every_level_is_the_walk_down_its_own_ranking(world: Any, made: Any) -> None:
    dataset, similarities, lists = made
    answers = world.run(Landmarks(), dataset=dataset)
    for level, (wanted, passed) in LEVELS.items():
        rows, firsts = [], []
        for line, (easy, hard, junk) in zip(similarities, lists, strict=True):
            grades = {"easy": easy, "hard": hard, "both": easy + hard, "": []}
            if grades[wanted]:
                walk = walked(line, grades[wanted], junk + grades[passed])
                firsts.append(f"gallery/{walk.pop('first'):05}.png")
                rows.append(walk)
        for metric in rows[0]:
            expected = np.mean([row[metric] for row in rows])
            assert answers.value(f"{metric}_{level}", level) == pytest.approx(expected, abs=1e-9)
        outputs = answers.outputs[level]
        assert len(outputs["item"]) == len(rows) == {"easy": 10, "medium": 11, "hard": 10}[level]
        assert outputs["nearest_1"].tolist() == firsts
        left_out = answers.notes[f"queries_without_answer_{level}"]
        assert left_out.value == f"{12 - len(rows)} of 12 queries are left out"
        assert left_out.warning
    assert answers.outputs["medium"]["n_positives"].tolist()[:3] == [9, 9, 9]
    right = answers.outputs["medium"]
    precision = np.mean([right[f"right_{place}"] for place in range(1, 6)], axis=0)
    np.testing.assert_allclose(precision, answers.scores["mP@5_medium", "medium"].per_sample)
    assert Landmarks.headline == "mAP_medium"
    assert (Landmarks.headline, "medium") in answers.scores


def test_ungraded_answers_by_the_challenge_of_google_landmarks(world: Any) -> None:
    generator = np.random.default_rng(6)
    queries, gallery = (normalised(generator.normal(size=(rows, 5))) for rows in (8, 300))
    counts = [1, 3, 99, 100, 101, 200, 300, 0]
    lists = [(generator.permutation(300)[:count].tolist(), [], []) for count in counts]
    answers = world.run(JudgedRetrieval(), dataset=judged(world, queries, gallery, lists))
    by_hand, plain = [], []
    for line, (right, _, _) in zip(queries @ gallery.T, lists, strict=True):
        if right:
            hits = np.isin(np.argsort(-line), right)
            precisions = np.cumsum(hits) / np.arange(1, 301) * hits
            by_hand.append(precisions[:100].sum() / min(len(right), 100))
            plain.append(precisions.sum() / len(right))
    assert answers["mAP@100"] == pytest.approx(np.mean(by_hand))
    assert answers["mAP"] == pytest.approx(np.mean(plain))
    assert answers.notes["queries_without_answer"].value == "1 of 8 queries are left out"
    assert JudgedRetrieval.headline == "mAP@100"
    assert answers.outputs["test"]["n_positives"].tolist() == counts[:-1]


def test_answers_by_class_are_the_task_retrieval(world: Any, blobs: Any) -> None:
    (queries, asked), (gallery, labels) = blobs(20, 4, 1), blobs(80, 4, 2)
    lists = [(np.flatnonzero(labels == label).tolist(), [], []) for label in asked]
    ours = world.run(JudgedRetrieval(), dataset=judged(world, queries, gallery, lists))
    splits = {"query": (queries, asked), "gallery": (gallery, labels)}
    theirs = world.run(Retrieval(), dataset=world.dataset("by class", tuple("abcd"), splits))
    for metric in ("mAP", "recall@1", "recall@5", "recall@10"):
        assert ours[metric] == pytest.approx(theirs[metric])


def test_a_constant_encoder_gets_chance_and_a_perfect_one_everything(world: Any) -> None:
    lists = [([0, 1], [2, 3, 4], [5, 6]), ([7, 8], [9], [])]
    generator = np.random.default_rng(0)
    orders = [generator.permutation(30) for _ in range(4000)]
    chance = [
        [walked(-order.astype(float), [*easy, *hard], junk)[metric] for easy, hard, junk in lists]
        for metric in ("mAP", "mP@10")
        for order in orders
    ]
    expected = [np.mean(chance[:4000]), np.mean(chance[4000:])]
    for value in (0.0, 2.0):
        same = judged(world, np.full((2, 4), value), np.full((30, 4), value), lists)
        answers = world.run(Landmarks(), dataset=same)
        found = [answers.value(f"{metric}_medium", "medium") for metric in ("mAP", "mP@10")]
        assert found == pytest.approx(expected, abs=0.01)
        assert answers.notes["collapsed"].warning
    gallery = np.tile([0.1, 0.1, 1.0], (30, 1))
    gallery[[0, 1, 2, 3, 4, 5, 6]], gallery[[7, 8, 9]] = [1.0, 0, 0], [0, 1.0, 0]
    perfect = world.run(Landmarks(), dataset=judged(world, np.eye(3)[:2], gallery, lists))
    for level in LEVELS:
        assert [perfect.value(f"{name}_{level}", level) for name in ("mAP", "mP@1", "mP@10")] == pytest.approx([1] * 3)


def test_the_options_change_landmarks_too(world: Any, made: Any) -> None:
    plain, expanded, reranked = (
        world.run(task, dataset=made[0]).value("mAP_medium", "medium")
        for task in (Landmarks(), Landmarks(expand=5), Landmarks(rerank=5))
    )
    assert len({plain, expanded, reranked}) == 3
    assert issubclass(Landmarks, Refined)


def test_what_cannot_be_asked_is_told(world: Any, blobs: Any) -> None:
    queries, gallery = np.eye(3, dtype=np.float32)[:2], np.eye(3, dtype=np.float32)
    fine = judged(world, queries, gallery, [([0], [1], []), ([2], [], [])])

    def why(dataset: Dataset, task: Any = JudgedRetrieval()) -> str:  # noqa: B008 - a frozen task
        return task.refusal(world.nobody, {"dataset": [dataset]}) or ""

    assert why(fine) == why(fine, Landmarks()) == ""
    by_class = world.dataset("c", ("a", "b"), {"query": blobs(4, 2, 1), "gallery": blobs(4, 2, 2)})
    assert "ask the task retrieval" in why(by_class)
    assert "needs one class an image" in why(fine, Retrieval())
    easy = judged(world, queries, gallery, [([0], [], []), ([2], [], [])])
    assert "grades no answer as hard; ask the task retrieval.judged" in why(easy, Landmarks())
    assert "no query has a right answer" in why(judged(world, queries, gallery, [([], [], [1]), ([], [], [])]))
    assert "has no images in gallery" in why(replace(fine, splits={"query": fine.splits["query"]}))
    assert "name rows 0..9; the gallery has 0..2" in why(judged(world, queries, gallery, [([9], [], []), ([], [], [])]))
    assert "are of 1 queries, and there are 2" in why(judged(world, queries, gallery, [([1], [], [])]))
    assert "query 0 lists a gallery row twice" in why(judged(world, queries, gallery, [([1], [1], []), ([], [], [])]))
    twice = replace(fine.splits["gallery"].images, names=("a", "a", "b"))
    splits = {**fine.splits, "gallery": replace(fine.splits["gallery"], images=twice)}
    assert "1 names are in its gallery twice" in why(replace(fine, splits=splits))
    with pytest.raises(ValueError, match="no readout 'deep'"):
        world.run(Landmarks(readout="deep"), dataset=fine)


def test_a_gallery_smaller_than_what_is_shown(world: Any) -> None:
    answers = world.run(JudgedRetrieval(), dataset=judged(world, np.eye(2), np.eye(2), [([0], [], []), ([1], [], [0])]))
    shown = answers.outputs["test"]
    assert shown["nearest_1"].tolist() == ["gallery/00000.png", "gallery/00001.png"]
    assert shown["nearest_2"].tolist() == ["gallery/00001.png", ""]
    assert shown["right_5"].tolist() == [False, False]
