"""Every score of detection against a twin that computes it image by image, in loops, from its definition."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from sklearn.covariance import EmpiricalCovariance

from tasks.classification.probe import fit
from tasks.features import normalised
from tasks.ood.methods import SCORES
from tasks.ood.scores.ash import levelled, pruned, scaled
from tasks.ood.scores.base import Head, Learnt, Seen, head_of, means_of
from tasks.ood.scores.vim import published

Row = np.ndarray
Twin = Callable[[Learnt, Row, float], float]


def logits_of(head: Head, row: Row) -> list[float]:
    return [
        sum(float(w) * float(f) for w, f in zip(weights, row, strict=True)) + float(b)
        for weights, b in zip(head.weights, head.intercepts, strict=True)
    ]


def softmax_of(logits: list[float], temperature: float = 1.0) -> list[float]:
    raised = [math.exp((each - max(logits)) / temperature) for each in logits]
    return [each / sum(raised) for each in raised]


def energy_of(logits: list[float]) -> float:
    return math.log(sum(math.exp(each) for each in logits))


def classes_of(learnt: Learnt) -> dict[int, list[Row]]:
    rows: dict[int, list[Row]] = {}
    for feature, label in zip(learnt.features, learnt.labels, strict=True):
        rows.setdefault(int(label), []).append(feature.astype(np.float64))
    return rows


def msp(learnt: Learnt, row: Row, parameter: float) -> float:
    return max(softmax_of(logits_of(learnt.seen.head, row)))


def max_logit(learnt: Learnt, row: Row, parameter: float) -> float:
    return max(logits_of(learnt.seen.head, row))


def energy(learnt: Learnt, row: Row, parameter: float) -> float:
    return energy_of(logits_of(learnt.seen.head, row))


def odin(learnt: Learnt, row: Row, parameter: float) -> float:
    return max(softmax_of(logits_of(learnt.seen.head, row), parameter))


def distance(row: Row, mean: Row, inverse: np.ndarray) -> float:
    apart = row.astype(np.float64) - mean
    return sum(apart[i] * inverse[i, j] * apart[j] for i in range(len(row)) for j in range(len(row)))


def covariances(learnt: Learnt) -> tuple[dict[int, Row], np.ndarray, Row, np.ndarray]:
    """Class means, the pseudo-inverse of the covariance about them, the mean of all and that about it."""
    rows = classes_of(learnt)
    means = {label: sum(each) / len(each) for label, each in rows.items()}
    within = sum(np.outer(row - means[label], row - means[label]) for label, each in rows.items() for row in each)
    every = [row for each in rows.values() for row in each]
    mean = sum(every) / len(every)
    total = sum(np.outer(row - mean, row - mean) for row in every)
    inverses = [np.linalg.pinv(each / len(every), rcond=1e-12, hermitian=True) for each in (within, total)]
    return means, inverses[0], mean, inverses[1]


def mahalanobis(learnt: Learnt, row: Row, parameter: float) -> float:
    means, inverse, _, _ = covariances(learnt)
    return max(-distance(row, mean, inverse) for mean in means.values())


def relative_mahalanobis(learnt: Learnt, row: Row, parameter: float) -> float:
    means, inverse, mean, total = covariances(learnt)
    return max(-(distance(row, each, inverse) - distance(row, mean, total)) for each in means.values())


def knn(learnt: Learnt, row: Row, parameter: float) -> float:
    length = math.sqrt(sum(float(each) ** 2 for each in row)) or 1.0
    found = []
    for other in learnt.features:
        its = math.sqrt(sum(float(each) ** 2 for each in other)) or 1.0
        found.append(sum(float(a) * float(b) for a, b in zip(row, other, strict=True)) / length / its)
    return sorted(found, reverse=True)[int(parameter) - 1]


def vim(learnt: Learnt, row: Row, parameter: float) -> float:
    """With the full projection I - PP' in place of the directions that are left, and the paper's probability."""
    head = learnt.seen.head
    origin = -np.linalg.pinv(head.weights.astype(np.float64)) @ head.intercepts
    centred = learnt.features.astype(np.float64) - origin
    principal = np.linalg.svd(centred)[2][: int(parameter)].T
    residual = np.eye(len(row)) - principal @ principal.T
    usual = sum(np.linalg.norm(residual @ each) for each in centred)
    scale = sum(max(logits_of(head, each)) for each in learnt.features) / usual
    logits = logits_of(head, row)
    virtual = scale * np.linalg.norm(residual @ (row - origin))
    probability = math.exp(virtual) / (math.exp(virtual) + sum(map(math.exp, logits)))
    return -math.log(probability / (1 - probability))  # falls with it, and is what ours is


def react(learnt: Learnt, row: Row, parameter: float) -> float:
    every = sorted(float(each) for feature in learnt.features for each in feature)
    place = parameter / 100 * (len(every) - 1)
    low, high = every[math.floor(place)], every[math.ceil(place)]
    cut = low + (high - low) * (place - math.floor(place))
    return energy_of(logits_of(learnt.seen.head, np.array([min(float(each), cut) for each in row])))


def kept_of(row: Row, percentile: float) -> list[int]:
    count = max(1, len(row) - round(len(row) * percentile / 100))
    return sorted(range(len(row)), key=lambda at: -row[at])[:count]


def ash_p(learnt: Learnt, row: Row, parameter: float) -> float:
    kept = kept_of(row, parameter)
    return energy_of(logits_of(learnt.seen.head, np.array([row[at] if at in kept else 0 for at in range(len(row))])))


def ash_b(learnt: Learnt, row: Row, parameter: float) -> float:
    kept = kept_of(row, parameter)
    level = float(sum(row)) / len(kept)
    return energy_of(logits_of(learnt.seen.head, np.array([level if at in kept else 0 for at in range(len(row))])))


def ash_s(learnt: Learnt, row: Row, parameter: float) -> float:
    kept = kept_of(row, parameter)
    scale = math.exp(float(sum(row)) / float(sum(row[at] for at in kept)))
    shaped = np.array([row[at] * scale if at in kept else 0 for at in range(len(row))])
    return energy_of(logits_of(learnt.seen.head, shaped))


def she(learnt: Learnt, row: Row, parameter: float) -> float:
    def predicted(each: Row) -> int:
        logits = logits_of(learnt.seen.head, each)
        return logits.index(max(logits))

    mine = predicted(row)
    own = classes_of(learnt)[mine]
    right = [each for each in own if predicted(each) == mine] or own
    return float(sum(float(a) * float(b) for a, b in zip(row, sum(right) / len(right), strict=True)))


def kl_matching(learnt: Learnt, row: Row, parameter: float) -> float:
    groups: dict[int, list[list[float]]] = {}
    for each in learnt.features:
        posterior = softmax_of(logits_of(learnt.seen.head, each))
        groups.setdefault(posterior.index(max(posterior)), []).append(posterior)
    mine = softmax_of(logits_of(learnt.seen.head, row))
    divergences = []
    for posteriors in groups.values():
        template = [sum(column) / len(posteriors) for column in zip(*posteriors, strict=True)]
        divergences.append(sum(p * math.log(p / q) for p, q in zip(mine, template, strict=True)))
    return -min(divergences)


def gradnorm(learnt: Learnt, row: Row, parameter: float) -> float:
    """By a backward pass, where ours has none."""
    head = learnt.seen.head
    weights = torch.from_numpy(head.weights.astype(np.float64)).requires_grad_()
    logits = weights @ torch.from_numpy(row.astype(np.float64)) + torch.from_numpy(head.intercepts.astype(np.float64))
    uniform = torch.full_like(logits, 1 / len(logits))
    loss = torch.nn.functional.kl_div(torch.log_softmax(logits, 0), uniform, reduction="sum")
    (gradient,) = torch.autograd.grad(loss, weights)
    return float(gradient.abs().sum())


def dice(learnt: Learnt, row: Row, parameter: float) -> float:
    head = learnt.seen.head
    mean = learnt.features.astype(np.float64).mean(0)
    flat = sorted(float(w * m) for weights in head.weights for w, m in zip(weights, mean, strict=True))
    place = parameter / 100 * (len(flat) - 1)
    cut = flat[math.floor(place)] + (flat[math.ceil(place)] - flat[math.floor(place)]) * (place - math.floor(place))
    kept = np.array([[w if w * m >= cut else 0 for w, m in zip(ws, mean, strict=True)] for ws in head.weights])
    return energy_of(logits_of(Head(kept.astype(np.float32), head.intercepts), row))


def mcm(learnt: Learnt, row: Row, parameter: float) -> float:
    assert learnt.seen.prompts is not None
    cosines = [float(row @ each / np.linalg.norm(row) / np.linalg.norm(each)) for each in learnt.seen.prompts]
    return max(softmax_of(cosines, parameter))


TWINS: dict[str, Twin] = {
    "msp": msp,
    "max_logit": max_logit,
    "energy": energy,
    "odin": odin,
    "mahalanobis": mahalanobis,
    "relative_mahalanobis": relative_mahalanobis,
    "knn": knn,
    "vim": vim,
    "react": react,
    "ash_p": ash_p,
    "ash_b": ash_b,
    "ash_s": ash_s,
    "she": she,
    "kl_matching": kl_matching,
    "gradnorm": gradnorm,
    "dice": dice,
    "mcm": mcm,
}
USED = {"odin": 7.0, "knn": 3.0, "vim": 5.0, "react": 83.0, "ash_p": 60.0, "ash_b": 65.0, "ash_s": 55.0, "dice": 64.0}
USED["mcm"] = 0.3
CLASSES, DIM = 4, 9


def learnt_of(rows: int = 60, dim: int = DIM, seed: int = 0, signed: bool = False) -> Learnt:
    """Rows about a mean for each class, and a probe of them."""
    generator = np.random.default_rng(seed)
    labels = np.arange(rows) % CLASSES
    features = np.random.default_rng(5).normal(size=(CLASSES, dim))[labels] + generator.normal(size=(rows, dim))
    features = (features if signed else np.abs(features)).astype(np.float32)
    prompts = normalised(generator.normal(size=(CLASSES, dim)))
    head = head_of(fit(features, labels, CLASSES, 0.01, 1e-5))
    return Learnt(Seen(features, head, prompts), labels)


def asked_of(learnt: Learnt, rows: int = 12, seed: int = 1) -> Seen:
    generator = np.random.default_rng(seed)
    features = np.abs(generator.normal(0.5, 1.5, size=(rows, learnt.features.shape[1]))).astype(np.float32)
    return Seen(features, learnt.seen.head, learnt.seen.prompts)


def test_every_score_has_a_twin() -> None:
    assert set(TWINS) == set(SCORES.found)


@pytest.mark.parametrize("name", TWINS)
def test_a_score_is_what_its_twin_computes(name: str) -> None:
    learnt = learnt_of()
    seen, parameter = asked_of(learnt), USED.get(name, 0.0)
    expected = [TWINS[name](learnt, row, parameter) for row in seen.features]
    found = SCORES.load(name).fit(learnt)(seen, [parameter])[0]
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-5)
    assert np.ptp(found) > 1e-3, "images that all score the same would agree with anything"


@pytest.mark.parametrize("name", [name for name in TWINS if name not in ("ash_b", "ash_s")])
def test_features_of_either_sign(name: str) -> None:
    learnt = learnt_of(signed=True)
    assert SCORES.load(name).unfit(learnt) is None
    features = np.random.default_rng(3).normal(0, 1.5, (8, DIM)).astype(np.float32)
    seen, parameter = Seen(features, learnt.seen.head, learnt.seen.prompts), USED.get(name, 0.0)
    expected = [TWINS[name](learnt, row, parameter) for row in features]
    np.testing.assert_allclose(SCORES.load(name).fit(learnt)(seen, [parameter])[0], expected, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("name", [name for name in TWINS if SCORES.load(name).parameter is not None])
def test_several_values_of_a_parameter_at_once_are_each_of_them_alone(name: str) -> None:
    learnt = learnt_of()
    seen, parameter = asked_of(learnt), SCORES.load(name).parameter
    values = list(dict.fromkeys([parameter.published(learnt), *parameter.tried(learnt)]))
    assert len(values) > 2
    together = SCORES.load(name).fit(learnt)(seen, values)
    alone = [SCORES.load(name).fit(learnt)(seen, [value])[0] for value in values]
    np.testing.assert_array_equal(together, alone)


def test_the_probes_scaling_is_folded_into_the_head() -> None:
    """Of features far from zero, one of which does not vary."""
    generator = np.random.default_rng(0)
    labels = np.arange(90) % 3
    features = (generator.normal(size=(90, 6)) + labels[:, None] + 50).astype(np.float32)
    features[:, 4] = 7
    probe = fit(features, labels, 3, 0.01, 1e-5)
    np.testing.assert_allclose(head_of(probe)(features), probe.logits(features), atol=1e-3)


@pytest.mark.parametrize("name", ["mahalanobis", "relative_mahalanobis"])
def test_a_singular_covariance_is_inverted_where_it_can_be(name: str) -> None:
    """Fewer images than dimensions, one class of a single image: scikit-learn inverts in the same way."""
    learnt = learnt_of(rows=13, dim=20)
    assert np.bincount(learnt.labels).min() == 3
    lone = Learnt(learnt.seen, np.where(np.arange(13) == 4, 9, learnt.labels))
    seen = asked_of(learnt)
    found = SCORES.load(name).fit(lone)(seen, [0.0])[0]
    means = {label: lone.features[lone.labels == label].astype(np.float64).mean(0) for label in np.unique(lone.labels)}
    within = np.stack([row - means[label] for row, label in zip(lone.features, lone.labels, strict=True)])
    model = EmpiricalCovariance(assume_centered=True).fit(within)
    expected = -np.min([model.mahalanobis(seen.features - mean) for mean in means.values()], axis=0)
    if name == "relative_mahalanobis":
        expected += EmpiricalCovariance().fit(lone.features.astype(np.float64)).mahalanobis(seen.features)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("name", TWINS)
def test_zeros_and_constants_are_numbers(name: str) -> None:
    """A backbone may see nothing: in one image, in all of them, or the same in all."""
    learnt = learnt_of()
    seen = Seen(np.zeros((3, DIM), np.float32), learnt.seen.head, learnt.seen.prompts)
    parameter = USED.get(name, 0.0)
    assert np.isfinite(SCORES.load(name).fit(learnt)(seen, [parameter])[0]).all()
    for value in (0.0, 3.0, 1e30):
        features = np.full((20, DIM), value, np.float32)
        head = Head(np.zeros((4, DIM), np.float32), np.zeros(4, np.float32))
        same = Learnt(Seen(features, head, learnt.seen.prompts), np.arange(20) % 4)
        found = SCORES.load(name).fit(same)(same.seen, [parameter])[0]
        assert np.isfinite(found).all()
        assert np.ptp(found) == 0


def test_neighbours_no_more_than_there_are() -> None:
    learnt = learnt_of(rows=12)
    seen = asked_of(learnt)
    found = SCORES.load("knn").fit(learnt)(seen, [50.0, 12.0])
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_allclose(found[0], (normalised(seen.features) @ normalised(learnt.features).T).min(1), atol=2e-6)


def test_vims_published_dimension() -> None:
    def of(dim: int) -> float:
        features = np.zeros((1, dim), np.float32)
        return published(Learnt(Seen(features, Head(features, np.zeros(1, np.float32))), np.zeros(1, np.int64)))

    assert [of(dim) for dim in (2048, 1536, 1280, 1024, 768, 512)] == [1000, 1000, 512, 512, 384, 256]


def test_shaping_keeps_ties_and_never_all_of_nothing() -> None:
    rows = np.array([[4.0, 4.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0], [1.0, 2.0, 3.0, 4.0]], np.float32)
    assert pruned(rows, 75.0).tolist() == [[4, 4, 0, 0], [0, 0, 0, 0], [0, 0, 0, 4]]
    assert levelled(rows, 75.0).tolist() == [[4.5, 4.5, 0, 0], [0, 0, 0, 0], [0, 0, 0, 10]]
    np.testing.assert_allclose(scaled(rows, 75.0)[0], [4 * math.exp(9 / 8)] * 2 + [0, 0], rtol=1e-6)
    assert scaled(rows, 75.0)[1].tolist() == [0] * 4
    assert pruned(rows, 100.0)[2].tolist() == [0, 0, 0, 4]


def test_shaping_by_sums_is_for_activations_alone() -> None:
    for name in ("ash_b", "ash_s"):
        assert SCORES.load(name).unfit(learnt_of()) is None
        assert "negative" in SCORES.load(name).unfit(learnt_of(signed=True))


def test_means_of_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.rows.BLOCK", 21)
    generator = np.random.default_rng(0)
    rows, places = generator.normal(size=(50, 3)).astype(np.float32), generator.permutation(np.arange(50) % 7)
    expected = [rows[places == place].mean(0) for place in range(7)]
    np.testing.assert_allclose(means_of(rows, places), expected, rtol=1e-5)


@pytest.mark.parametrize("name", [name for name in TWINS if name != "mcm"])
def test_the_separable_is_told_apart_and_the_same_is_not(name: str) -> None:
    """Unknown images have none of the activations that classes have, and some of their own; or they are known ones."""
    from tasks.ood.detection_metrics import auroc

    separable, same = [], []
    for seed in range(6):
        generator = np.random.default_rng(seed)
        labels = np.arange(400) % CLASSES

        def known(generator: np.random.Generator = generator, labels: np.ndarray = labels) -> np.ndarray:
            centre = np.repeat(np.eye(CLASSES + 1), 16, axis=1)[:CLASSES]
            return np.abs(6 * centre[labels] + 0.3 * generator.normal(size=(400, 80))).astype(np.float32)

        features = known()
        learnt = Learnt(Seen(features, head_of(fit(features, labels, CLASSES, 0.01, 1e-5))), labels)
        unknown = np.abs(0.3 * generator.normal(size=(300, 80))).astype(np.float32)
        unknown[:, -16:] += 1
        method = SCORES.load(name)
        value = 0.0 if method.parameter is None else method.parameter.published(learnt)
        score = method.fit(learnt)
        inside, outside, more = (
            score(Seen(each, learnt.seen.head), [value])[0] for each in (known(), unknown, known())
        )
        separable.append(auroc(inside, [outside]).value)
        same.append(auroc(inside, [more]).value)
    assert min(separable) > 0.97, separable
    assert np.mean(same) == pytest.approx(0.5, abs=0.03), same
