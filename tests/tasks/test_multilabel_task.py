"""The probe of several labels against scikit-learn; ordered classes in the linear probe; who refuses what."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import cohen_kappa_score, mean_absolute_error, roc_auc_score
from sklearn.preprocessing import StandardScaler

from tasks.classification.few_shot import FewShot
from tasks.classification.head import OwnHead
from tasks.classification.knn import NearestNeighbours
from tasks.classification.linear import LinearProbe
from tasks.classification.multilabel import MultiLabelProbe, fit
from tasks.ood.shift import Shift
from tasks.retrieval.retrieval import Retrieval

FINDINGS = ("edema", "fracture", "nodule")


def chests(rows, seed, unknown=0.1):
    """Features in which the first two findings can be seen, the third not at all."""
    generator = np.random.default_rng(seed)
    targets = (generator.random((rows, 3)) < [0.3, 0.5, 0.4]).astype(np.float32)
    seen = targets[:, :2] @ np.random.default_rng(99).normal(size=(2, 12)) * 0.8
    targets[generator.random((rows, 3)) < unknown] = np.nan
    return (seen + generator.normal(size=(rows, 12))).astype(np.float32), targets


@pytest.fixture
def parts():
    return {"train": chests(300, 1), "val": chests(150, 2), "test": chests(400, 3)}


def test_outputs_are_those_of_scikit_learn_at_the_chosen_strength(world, parts):
    answers = world.run(MultiLabelProbe(), dataset=world.targeted("d", "multilabel", FINDINGS, parts))
    strength = answers.notes["strength"].value
    features, targets = (np.concatenate([parts["train"][side], parts["val"][side]]) for side in (0, 1))
    scaler = StandardScaler().fit(features)
    for label, name in enumerate(FINDINGS):
        known = np.isfinite(targets[:, label])
        rival = LogisticRegression(C=1 / (strength * known.sum()), tol=1e-8, max_iter=5000)
        rival.fit(scaler.transform(features[known]), targets[known, label])
        expected = rival.decision_function(scaler.transform(parts["test"][0]))
        np.testing.assert_allclose(answers.outputs["test"][f"output:{name}"], expected, atol=2e-3)
        asked = np.isfinite(parts["test"][1][:, label])
        auc = roc_auc_score(parts["test"][1][asked, label], expected[asked])
        assert answers[f"auc:{name}"] == pytest.approx(auc, abs=1e-3)
    assert answers["auc:edema"] > 0.75
    assert answers["auc:fracture"] > 0.75
    low, high = answers.scores["auc:nodule", "test"].interval
    assert low < 0.5 < high


def test_the_strength_is_the_best_on_val_and_test_decides_nothing(world, parts):
    one = world.run(MultiLabelProbe(strengths=6), dataset=world.targeted("one", "multilabel", FINDINGS, parts))
    other = {**parts, "test": chests(400, 4)}
    two = world.run(MultiLabelProbe(strengths=6), dataset=world.targeted("two", "multilabel", FINDINGS, other))
    aucs = one.notes["val_mean_auc"].value
    assert aucs[f"{one.notes['strength'].value:.3g}"] == max(aucs.values())
    assert two.notes["val_mean_auc"].value == aucs
    assert one["mean_auc"] != two["mean_auc"]


def test_unknown_labels_take_no_part(world, parts):
    """Wherever a label is unknown the image's features may be anything: that label's model does not change."""
    features, targets = parts["train"]
    hidden = targets.copy()
    hidden[:100, 0] = np.nan
    spoiled = features.copy()
    spoiled[:100] = spoiled[:100][::-1]
    scaled_alike = fit(features, hidden[:, :1], [0.1], 1e-6), fit(spoiled, hidden[:, :1], [0.1], 1e-6)
    one, two = (probe.outputs(features) for probe in scaled_alike)
    np.testing.assert_allclose(one, two, atol=1e-4)


def test_a_label_train_never_shows_is_left_out_and_said(world, parts):
    parts["train"][1][:, 1] = np.where(np.isnan(parts["train"][1][:, 1]), np.nan, 0)
    answers = world.run(MultiLabelProbe(strengths=3), dataset=world.targeted("d", "multilabel", FINDINGS, parts))
    assert answers.notes["labels_not_learnt"].warning
    assert answers.notes["labels_not_learnt"].value.endswith(": fracture")
    assert ("auc:fracture", "test") not in answers.scores
    assert answers["mean_auc"] == pytest.approx((answers["auc:edema"] + answers["auc:nodule"]) / 2)


def test_the_seed_matters_only_where_val_is_carved(world, parts):
    dataset = world.targeted("d", "multilabel", FINDINGS, parts)
    assert not MultiLabelProbe().uses_seed({"dataset": [dataset]})
    del parts["val"]
    carved = world.targeted("e", "multilabel", FINDINGS, parts)
    assert MultiLabelProbe().uses_seed({"dataset": [carved]})
    notes = world.run(MultiLabelProbe(strengths=3), dataset=carved, seed=4).notes
    assert notes["val_part"].value == "carved from train: 20 %, shuffled, seed 4"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda y: y.__setitem__((3, 1), 2), r"target 'fracture' of 'train/00003.png' is 2.0, not 0, 1 or NaN"),
        (lambda y: y.__setitem__((3, 1), -1), r"is -1.0, not 0, 1 or NaN"),
        (lambda y: y.fill(0), "trains on labels of which none is both present and absent"),
        (lambda y: y.fill(np.nan), "trains on labels of which none is both present and absent"),
    ],
)
def test_targets_that_are_none_or_all_alike_are_refused(spoil, message, world, parts):
    spoil(parts["train"][1])
    dataset = world.targeted("d", "multilabel", FINDINGS, parts)
    assert not MultiLabelProbe().uses_seed({"dataset": [dataset]})
    with pytest.raises(ValueError, match=message):
        world.run(MultiLabelProbe(), dataset=dataset)


def test_a_test_set_of_one_value_gives_an_error_and_no_number(world, parts):
    parts["test"][1].fill(1)
    with pytest.raises(ValueError, match="there is nothing to rank"):
        world.run(MultiLabelProbe(strengths=3), dataset=world.targeted("d", "multilabel", FINDINGS, parts))


@pytest.mark.parametrize("kind", ["multilabel", "value"])
def test_tasks_of_one_class_an_image_refuse_in_a_sentence(kind, world, parts):
    classes = FINDINGS if kind == "multilabel" else ("age",)
    splits = {name: (x, y[:, : len(classes)]) for name, (x, y) in parts.items()}
    dataset = world.targeted("chests", kind, classes, splits)
    plain = world.dataset("plain", ("a", "b"), {"train": (parts["train"][0], np.arange(300) % 2)})
    for task in (LinearProbe(), NearestNeighbours(), FewShot(), Retrieval()):
        assert f"({kind}), and this task needs one class an image" in task.refusal(world.nobody, {"dataset": [dataset]})
        with pytest.raises(ValueError, match="needs one class an image"):
            world.run(task, dataset=dataset)
    assert "needs one class" in OwnHead().refusal(world.headed(FINDINGS), {"dataset": [dataset]})
    for roles in ({"train": [dataset], "test": [plain]}, {"train": [plain], "test": [dataset]}):
        assert "'chests'" in Shift().refusal(world.nobody, roles)
    assert "(class), and this task needs any of several labels" in MultiLabelProbe().refusal(
        world.nobody, {"dataset": [plain]}
    )


def test_ordered_classes_are_learnt_as_classes_and_say_how_far_off(world, blobs):
    from dataclasses import replace

    grades = ("none", "mild", "severe")
    splits = {"train": blobs(150, 3, 1), "test": blobs(120, 3, 2)}
    plain = world.dataset("d", grades, splits)
    answers = world.run(LinearProbe(strengths=4), dataset=replace(plain, target="ordinal"))
    table, labels = answers.outputs["test"], splits["test"][1]
    expected = cohen_kappa_score(labels, table["prediction"], weights="quadratic")
    assert answers["quadratic_kappa"] == pytest.approx(expected)
    assert answers["mae"] == pytest.approx(mean_absolute_error(labels, table["prediction"]))
    assert ("quadratic_kappa", "test") not in world.run(LinearProbe(strengths=4), dataset=plain).scores
