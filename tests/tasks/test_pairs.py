"""One ranking of all pairs against scikit-learn's on the whole matrix."""

import tracemalloc

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, precision_recall_curve

from tasks.classification.weighted_metrics import bootstrap
from tasks.datasets.relevance import RowLists
from tasks.features import normalised
from tasks.retrieval import pair_intervals, pairs
from tasks.retrieval.pairs import rank_pairs
from tasks.retrieval.search import STEPS


def exact(rows: np.ndarray) -> np.ndarray:
    """Rows shorter than one whose products float32 holds without rounding, whatever the order of the sums."""
    return (np.round(normalised(rows) * 0.9 * 64) / 64).astype(np.float32)


def some_pairs(seed: int = 0, distinct: int = 400) -> tuple[np.ndarray, np.ndarray, RowLists, np.ndarray]:
    """60 queries, of which every third has copies among 400 gallery images; ``distinct`` of these differ."""
    generator = np.random.default_rng(seed)
    gallery = generator.normal(size=(distinct, 10))[np.arange(400) % distinct]
    lists = [generator.choice(400, 1 + row % 4, replace=False).tolist() if row % 3 == 0 else [] for row in range(60)]
    noise = 0.5 * generator.normal(size=(60, 10))
    queries = np.stack([gallery[rows].sum(0) + noise[row] for row, rows in enumerate(lists)])
    return exact(queries), exact(gallery), RowLists.of(lists), generator.integers(0, 512, 60) / 1024


def truth(lists: RowLists, shape: tuple[int, int]) -> np.ndarray:
    found = np.zeros(shape, bool)
    for query in range(len(lists)):
        found[query, lists.of_query(query)] = True
    return found


@pytest.mark.parametrize("tile", [(1024, 2**15), (7, 33)])
@pytest.mark.parametrize("distinct", [400, 25], ids=["no ties", "ties"])
@pytest.mark.parametrize("lowering", [0.0, 1.0])
def test_the_ranking_is_that_of_the_whole_matrix(
    monkeypatch: pytest.MonkeyPatch, tile: tuple[int, int], distinct: int, lowering: float
) -> None:
    monkeypatch.setattr(pairs, "TILE", tile)
    monkeypatch.setattr(pairs, "COUNTED", 500)
    queries, gallery, lists, lowered = some_pairs(distinct=distinct)
    ranking = rank_pairs(queries, gallery, lists, lowering * lowered)
    scores = np.rint((queries @ gallery.T - lowering * lowered[:, None].astype(np.float32)) * STEPS)
    right = truth(lists, scores.shape)
    precisions, recalls, _ = precision_recall_curve(right.ravel(), scores.ravel())
    assert ranking.thresholds.average_precision() == pytest.approx(
        average_precision_score(right.ravel(), scores.ravel()), abs=1e-9
    )
    for least in (0.1, 0.5, 0.9):
        assert ranking.thresholds.recall_at_precision(least) == pytest.approx(recalls[precisions >= least].max())
    best = scores.max(1)
    np.testing.assert_array_equal(ranking.best, scores.argmax(1))
    np.testing.assert_allclose(ranking.scores, best / STEPS)
    expected = [right[row, scores[row] == best[row]].mean() if right[row].any() else np.nan for row in range(60)]
    np.testing.assert_allclose(ranking.hits, expected)


def test_lowering_mixes_the_queries_anew() -> None:
    """Or the test above could not tell whether it is done."""
    queries, gallery, lists, lowered = some_pairs()
    one, other = (
        rank_pairs(queries, gallery, lists, by).thresholds.average_precision() for by in (np.zeros(60), lowered)
    )
    assert abs(one - other) > 0.05


def test_junk_is_neither_right_nor_wrong() -> None:
    queries, gallery, lists, lowered = some_pairs()
    right = truth(lists, (60, 400))
    scores = queries @ gallery.T
    junk = RowLists.of(
        [row for row in np.argsort(-scores[query])[:5].tolist() if not right[query, row]] for query in range(60)
    )
    ranking = rank_pairs(queries, gallery, lists, 0 * lowered, junk)
    kept = ~truth(junk, (60, 400))
    assert (~kept).sum() > 200
    assert ranking.thresholds.average_precision() == pytest.approx(
        average_precision_score(right[kept], scores[kept]), abs=1e-6
    )
    np.testing.assert_array_equal(ranking.best, np.where(kept, scores, -9).argmax(1))
    assert (
        ranking.thresholds.average_precision()
        > rank_pairs(queries, gallery, lists, 0 * lowered).thresholds.average_precision() + 0.05
    )


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_constant_scorer_gets_the_share_of_right_pairs(value: float) -> None:
    lists = some_pairs()[2]
    queries, gallery = normalised(np.full((60, 3), value)), normalised(np.full((400, 3), value))
    ranking = rank_pairs(queries, gallery, lists, np.zeros(60))
    assert ranking.thresholds.average_precision() == pytest.approx(len(lists.rows) / (60 * 400))
    assert ranking.thresholds.recall_at_precision(0.9) == 0
    assert ranking.hits[3] == pytest.approx(len(lists.of_query(3)) / 400)


def test_a_perfect_scorer_and_a_single_pair() -> None:
    unit = np.eye(5, dtype=np.float32)
    ranking = rank_pairs(unit, unit, RowLists.of([[0], [1], [], [3], [4]]), np.zeros(5))
    assert ranking.thresholds.average_precision() == pytest.approx(4 / 5)  # the query without a copy ties with them
    assert ranking.thresholds.recall_at_precision(0.8) == 1
    assert ranking.thresholds.recall_at_precision(0.81) == 0
    one = rank_pairs(unit[:1], unit[:1], RowLists.of([[0]]), np.zeros(1))
    assert one.thresholds.average_precision() == 1


def test_the_full_matrix_is_never_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs, "TILE", (256, 1024))
    monkeypatch.setattr(pairs, "COUNTED", 2**18)
    generator = np.random.default_rng(0)
    gallery = normalised(generator.normal(size=(20000, 8)))
    lists = RowLists.of([row] for row in range(2000))
    tracemalloc.start()
    ranking = rank_pairs(gallery[:2000], gallery, lists, np.zeros(2000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert ranking.thresholds.right[-1] == 2000
    assert peak < 2000 * 20000 * 4 / 2  # three arrays of the 2 million steps there are, and a tile


@pytest.mark.parametrize(("groups", "tile"), [(200, (1024, 2**15)), (7, (13, 90))])
def test_intervals_are_those_of_drawing_groups_of_queries_anew(
    monkeypatch: pytest.MonkeyPatch, groups: int, tile: tuple[int, int]
) -> None:
    """The same draws, with scikit-learn's metrics on all pairs, each counting as often as its query was drawn."""
    monkeypatch.setattr(pair_intervals, "GROUPS", groups)
    monkeypatch.setattr(pairs, "TILE", tile)
    queries, gallery, lists, lowered = some_pairs()
    right, scores = truth(lists, (60, 400)).ravel(), (queries @ gallery.T).ravel()
    drawn = min(groups, 60)

    def both(weights: np.ndarray) -> np.ndarray:
        found = []
        for row in weights:
            often = np.repeat(row[np.arange(60) % drawn], 400)
            precisions, recalls, _ = precision_recall_curve(right, scores, sample_weight=often)
            ap = average_precision_score(right, scores, sample_weight=often)
            found.append((ap, recalls[precisions >= 0.5].max()))
        return np.array(found).T

    grouped = rank_pairs(queries, gallery, lists, 0 * lowered).grouped
    monkeypatch.setattr("tasks.classification.weighted_metrics.RESAMPLES", 25)
    expected = bootstrap(both, drawn) - both(np.ones((1, drawn)))
    found = grouped.intervals(0.5)
    for spread, (less, more) in zip(expected, found, strict=True):
        assert (less, more) == pytest.approx(tuple(np.quantile(spread, [0.025, 0.975])), abs=0.005)
        assert more - less > 0.05
