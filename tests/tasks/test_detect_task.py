"""Detection from datasets to scores: who is asked, what is chosen on what, and what is refused."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from sklearn.metrics import roc_auc_score

from tasks.base import Outputs, Score, Tools
from tasks.classification.linear import LinearProbe
from tasks.classification.zero_shot import ZeroShot
from tasks.datasets.base import Dataset
from tasks.ood.detect import HOME, Detect
from tasks.ood.detection_metrics import METRICS
from tasks.ood.methods import SCORES
from tests.feature_fakes import Speaking

CLASSES = ("cat", "dog", "horse", "ship")
QUICK = {"strengths": 3}
FAST = ("msp", "energy", "knn", "mahalanobis")


def images(classes: int, rows: int, seed: int, first: int = 0, dim: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """Activations about the means of ``classes`` classes, from the ``first`` on; the same means for every call."""
    means = np.abs(np.random.default_rng(9).normal(size=(20, dim))) * 2
    labels = np.arange(rows) % classes
    features = means[labels + first] + np.random.default_rng(seed).normal(size=(rows, dim)) * 0.5
    return np.abs(features).astype(np.float32), labels


@pytest.fixture
def home(world: Any) -> Dataset:
    dataset: Dataset = world.dataset("home", CLASSES, {"train": images(4, 200, 1), "test": images(4, 120, 2)})
    return dataset


def others(world: Any, name: str, seed: int, first: int = 4, classes: tuple[str, ...] = ("tree", "car")) -> Dataset:
    dataset: Dataset = world.dataset(name, classes, {"all": images(len(classes), 60, seed, first)})
    return dataset


def test_every_set_by_every_score(world: Any, home: Dataset) -> None:
    near, other, far = others(world, "n1", 3), others(world, "n2", 4, 8), others(world, "f", 5, 12)
    answers = world.run(Detect(**QUICK), train=home, near=[near, other], far=[far])
    asked = set(SCORES.found) - {"mcm"}
    assert list(answers.notes["scores_left_out"].value) == ["mcm"]
    assert "has no text tower" in answers.notes["scores_left_out"].value["mcm"]
    for name in asked:
        known = answers.outputs[HOME][f"known:{name}"]
        for split in ("n1", "n2", "f"):
            unknown = answers.outputs[split][f"known:{name}"]
            truth = np.repeat([1, 0], [len(known), len(unknown)])
            expected = roc_auc_score(truth, np.concatenate([known, unknown]))
            assert answers.value(f"auroc:{name}", split) == pytest.approx(expected)
            for metric, function in METRICS.items():
                score = answers.scores[f"{metric}:{name}", split]
                assert (score.value, score.interval) == (
                    function(known, [unknown]).value,
                    function(known, [unknown]).interval,
                )
                assert score.higher_is_better == (metric != "fpr95")
        for metric in METRICS:
            mean = np.mean([answers.value(f"{metric}:{name}", split) for split in ("n1", "n2")])
            assert answers.value(f"{metric}:{name}", "near") == pytest.approx(mean)
            assert answers.value(f"{metric}:{name}", "far") == pytest.approx(answers.value(f"{metric}:{name}", "f"))
    assert answers.value("auroc:knn", "f") > 0.9
    assert set(answers.outputs) == {HOME, "n1", "n2", "f"}
    assert list(answers.outputs["n1"]) == ["item", *(f"known:{name}" for name in sorted(asked))]
    assert answers.outputs[HOME]["label"].tolist() == home.splits["test"].labels.tolist()
    assert not any("full_spectrum" in metric for metric, _ in answers.scores)


def test_the_headline_is_the_baselines_without_validation(world: Any, home: Dataset) -> None:
    """Near and far weigh the same, however many sets they are."""
    near, other, far = others(world, "n1", 3), others(world, "n2", 4, 8), others(world, "f", 5, 12)
    answers = world.run(Detect(scores=FAST, **QUICK), train=home, near=[near, other], far=[far])
    for metric in METRICS:
        means = [answers.value(f"{metric}:msp", role) for role in ("near", "far")]
        assert answers[metric] == pytest.approx(np.mean(means))
    assert answers.notes["headline_score"].value == "msp"
    assert answers.notes["chosen_by"].value == "published defaults: there are no validation sets to choose on"
    assert answers.notes["score_parameters"].value == {"knn": {"k": 50.0}}
    assert next(iter(answers.scores)) == ("auroc", "test")
    alone = world.run(Detect(scores=("knn", "energy"), **QUICK), train=home, far=[far])
    assert alone.notes["headline_score"].value == "knn"
    assert alone["auroc"] == alone.value("auroc:knn", "f") == answers.value("auroc:knn", "f")


def test_the_head_is_the_linear_probe(world: Any, home: Dataset) -> None:
    answers = world.run(Detect(scores=("msp",), **QUICK), train=home, far=[others(world, "f", 3)])
    probe = world.run(LinearProbe(**QUICK), dataset=home)
    assert answers.value("top1", HOME) == probe["top1"]
    confidence = probe.outputs["test"]["confidence"]
    np.testing.assert_allclose(answers.outputs[HOME]["known:msp"], confidence, rtol=1e-3)


def test_parameters_and_the_score_shown_are_chosen_on_validation_alone(world: Any, home: Dataset) -> None:
    """What the test sets hold changes nothing of the choice, and the choice is the best of the numbers told."""
    held_out, far = others(world, "v", 3, 8), others(world, "f", 5, 12)
    shuffled = world.dataset("g", ("x",), {"all": images(1, 50, 8, 2)})
    task = Detect(scores=("msp", "knn", "odin", "react"), **QUICK)
    answers = world.run(task, train=home, far=[far], validation=[held_out])
    other = world.run(task, train=home, far=[shuffled], validation=[held_out])
    told = answers.notes["auroc_on_validation"].value
    assert told == other.notes["auroc_on_validation"].value
    assert list(told) == ["msp", "knn", "odin", "react"]
    parameters = answers.notes["score_parameters"].value
    for name, values in told.items():
        best = max(values.values())
        if name != "msp":
            (chosen,) = parameters[name].values()
            assert len(values) > 2
            assert values[f"{chosen:g}"] == best
            assert chosen == float(next(value for value, merit in values.items() if merit == best))
    shown = answers.notes["headline_score"].value
    assert max(told[shown].values()) == max(max(values.values()) for values in told.values())
    assert answers["auroc"] == answers.value(f"auroc:{shown}", "f")


def test_validation_images_of_home_are_those_the_first_probe_did_not_see(
    world: Any, home: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The probe of the choice learns from train without val; never are test images among what it chooses on."""
    from tasks.ood import detect

    seen: dict[str, Any] = {}

    def remembering(methods: Any, learnt: Any, known: Any, unknown: Any, fixed: Any) -> Any:
        seen.update(learnt=learnt, known=known, unknown=unknown)
        return chosen_on(methods, learnt, known, unknown, fixed)

    chosen_on = detect.chosen_on
    monkeypatch.setattr(detect, "chosen_on", remembering)
    held_out = others(world, "v", 3, 8)
    world.run(Detect(scores=("msp",), **QUICK), train=home, far=[others(world, "f", 5)], validation=[held_out])
    train = {row.tobytes() for row in world.features["home/train"]}
    learnt, known = ({row.tobytes() for row in each} for each in (seen["learnt"].features, seen["known"].features))
    assert len(learnt) == 160
    assert learnt | known == train
    assert not learnt & known
    np.testing.assert_array_equal(seen["unknown"][0].features, world.features["v/all"])


def test_many_images_to_choose_on_are_thinned(world: Any, home: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.ood.detect.CHOSEN_ON", 7)
    held_out, far = others(world, "v", 3, 8), others(world, "f", 5, 12)
    answers = world.run(Detect(scores=("msp",), **QUICK), train=home, far=[far], validation=[held_out])
    merit = answers.notes["auroc_on_validation"].value["msp"]["0"]
    assert merit * 49 * 2 == pytest.approx(round(merit * 49 * 2))  # so many pairs there are of seven and seven
    assert len(answers.outputs["f"]["item"]) == 60


def test_fixed_parameters_are_used_and_not_searched(world: Any, home: Dataset) -> None:
    far, held_out = others(world, "f", 3), others(world, "v", 4, 8)
    fixed = world.run(Detect(scores=("knn",), parameters={"knn": 3}, **QUICK), train=home, far=[far])
    assert fixed.notes["score_parameters"].value == {"knn": {"k": 3.0}}
    free = world.run(Detect(scores=("knn",), **QUICK), train=home, far=[far])
    assert not np.array_equal(fixed.outputs["f"]["known:knn"], free.outputs["f"]["known:knn"])
    both = Detect(scores=("knn",), parameters={"knn": 3}, **QUICK)
    told = world.run(both, train=home, far=[far], validation=[held_out]).notes["auroc_on_validation"].value
    assert list(told["knn"]) == ["3"]


def test_full_spectrum_takes_shifted_images_of_classes_learnt_for_known(world: Any, home: Dataset) -> None:
    features, labels = images(4, 80, 6)
    shifted = world.dataset("s", ("ship", "plane", "cat", "dog"), {"all": (features, (labels - 1) % 4)})
    far = others(world, "f", 5, 12)
    answers = world.run(Detect(scores=("msp", "knn"), **QUICK), train=home, shifted=[shifted], far=[far])
    own = [answers.outputs[split]["known:knn"] for split in (HOME, "s", "f")]
    assert [len(each) for each in own] == [120, 60, 60]
    truth = np.repeat([1, 1, 0], [len(each) for each in own])
    assert answers.value("full_spectrum_auroc:knn", "f") == pytest.approx(roc_auc_score(truth, np.concatenate(own)))
    assert answers["full_spectrum_auroc"] == answers.value("full_spectrum_auroc:msp", "far")
    plain = world.run(Detect(scores=("msp", "knn"), **QUICK), train=home, far=[far])
    assert plain.value("auroc:knn", "f") == answers.value("auroc:knn", "f")
    names = [shifted.classes[label] for label in (labels - 1) % 4]
    expected = [CLASSES.index(name) for name in names if name in CLASSES]
    assert answers.outputs["s"]["label"].tolist() == expected
    assert answers.notes["left_out:s"].value == "of 80 images 20 are of no class learnt (plane)"
    assert answers.notes["left_out:s"].warning


def test_in_distribution_classes_of_an_unknown_set_are_named_and_not_asked(world: Any, home: Dataset) -> None:
    far = others(world, "f", 5, 2, ("horse", "ship", "tree", "egyptian_cat"))
    answers = world.run(Detect(scores=FAST, **QUICK), train=home, far=[far])
    note = answers.notes["left_out:f"]
    assert note.warning
    assert note.value == "of 60 images 30 are of in-distribution classes (horse, ship)"
    asked = [far.splits["all"].images.names[row] for row in range(60) if row % 4 >= 2]
    assert list(answers.outputs["f"]["item"]) == asked
    assert answers.notes["alike:f"].warning
    assert answers.notes["alike:f"].value.endswith("egyptian_cat (egyptian cat), like cat")
    left = world.run(Detect(scores=FAST, leave_out=["egyptian_cat"], **QUICK), train=home, far=[far])
    assert "15 are left out by name (egyptian_cat)" in left.notes["left_out:f"].value
    assert "alike:f" not in left.notes
    assert len(left.outputs["f"]["item"]) == 15


def test_wordnet_ids_are_looked_up(world: Any, home: Dataset) -> None:
    """n02124075 is the Egyptian cat, n02504458 the African elephant."""
    far = others(world, "f", 5, 4, ("n02124075", "n02504458"))
    answers = world.run(Detect(scores=("msp",), **QUICK), train=home, far=[far])
    assert answers.notes["alike:f"].value.endswith("n02124075 (Egyptian cat), like cat")


def test_files_that_are_in_distribution_images_are_not_asked(world: Any, home: Dataset) -> None:
    far, shifted = others(world, "f", 5, 12), world.dataset("s", CLASSES, {"all": images(4, 40, 6)})
    split = far.splits["all"]
    hashes = list(split.sha256)
    hashes[3], hashes[7] = home.splits["train"].sha256[0], shifted.splits["all"].sha256[5]
    copied = replace(far, splits={"all": replace(split, sha256=tuple(hashes))})
    answers = world.run(Detect(scores=("msp",), **QUICK), train=home, shifted=[shifted], far=[copied])
    note = answers.notes["left_out:f"]
    assert note.warning
    assert note.value == "of 60 images 2 are files of in-distribution images (all/00003.png, all/00007.png)"
    assert len(answers.outputs["f"]["item"]) == 58


def test_nothing_is_chosen_by_an_image_of_a_test_set(world: Any, home: Dataset) -> None:
    far, held_out = others(world, "f", 5, 12), others(world, "v", 6, 8)
    split = held_out.splits["all"]
    shared = replace(split, sha256=(*far.splits["all"].sha256[:50], *split.sha256[50:]))
    copied = replace(held_out, splits={"all": shared})
    answers = world.run(Detect(scores=("msp",), **QUICK), train=home, far=[far], validation=[copied])
    assert answers.notes["left_out:v"].value.startswith("of 60 images 50 are files of the test sets")
    assert len(answers.outputs["f"]["item"]) == 60


def test_unknown_sets_need_no_classes_of_one_kind(world: Any, home: Dataset) -> None:
    """Textures, X-rays, anything: where images have several labels, one that is learnt leaves an image out."""
    features, _ = images(2, 60, 5, 12)
    labels = np.zeros((60, 2))
    labels[:10, 1] = 1
    far = world.targeted("f", "multilabel", ("grass", "dog"), {"all": (features, labels)})
    answers = world.run(Detect(scores=("msp",), **QUICK), train=home, far=[far])
    assert answers.notes["left_out:f"].value == "of 60 images 10 are of in-distribution classes (dog)"


def test_zero_features_are_scored_and_counted(world: Any, home: Dataset) -> None:
    features, labels = images(2, 60, 5, 12)
    features[:4] = 0
    far = world.dataset("f", ("a", "b"), {"all": (features, labels)})
    answers = world.run(Detect(**QUICK), train=home, far=[far])
    assert answers.notes["zeros:f"].warning
    assert answers.notes["zeros:f"].value.startswith("4 of 60 images")
    assert f"zeros:{HOME}" not in answers.notes


def test_a_class_of_one_image_and_one_of_none(world: Any) -> None:
    features, labels = images(4, 200, 1)
    kept = np.flatnonzero((labels != 3) | (np.arange(200) == 3))
    home = world.dataset(
        "home", (*CLASSES, "nobody"), {"train": (features[kept], labels[kept]), "test": images(4, 80, 2)}
    )
    answers = world.run(Detect(**QUICK), train=home, far=[others(world, "f", 5, 12)])
    assert 0.5 < answers["auroc"] <= 1


def test_a_score_that_is_no_number_is_named_with_its_image(
    world: Any, home: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tasks.ood.scores import softmax

    def broken(seen: Any) -> np.ndarray:
        values = seen.logits.max(1).astype(np.float64)
        values[2] = np.nan if len(values) == 60 else values[2]
        return np.asarray(values)

    monkeypatch.setitem(softmax.METHODS, "energy", softmax.plain(broken))
    with pytest.raises(FloatingPointError, match=r"score 'energy' of 1 of 60 images of 'f'.*'all/00002.png'"):
        world.run(Detect(scores=("msp", "energy"), **QUICK), train=home, far=[others(world, "f", 5)])


class Matching(Speaking):
    """A text tower whose classes lie where the images of their class do."""

    def vector(self, prompt: str) -> Any:
        import torch

        name = prompt.removeprefix("a photo of a ").removesuffix(".")
        return torch.from_numpy(images(4, 4, 0)[0][CLASSES.index(name)])


def test_prompts_are_a_score_of_their_own_for_vision_language_backbones(world: Any, home: Dataset) -> None:
    far, backbone = others(world, "f", 5, 12), Matching()
    answers = world.run(Detect(scores=("mcm",), **QUICK), backbone=backbone, train=home, far=[far])
    assert answers.notes["scores_left_out"].value == {}
    zero_shot = world.run(ZeroShot(), backbone=backbone, dataset=home)
    cosines = world.features["home/test"] @ np.stack([backbone.vector(f"a photo of a {name}.") for name in CLASSES]).T
    cosines /= np.linalg.norm(world.features["home/test"], axis=1)[:, None]
    cosines /= np.linalg.norm([backbone.vector(f"a photo of a {name}.") for name in CLASSES], axis=1)
    expected = (np.exp(cosines) / np.exp(cosines).sum(1, keepdims=True)).max(1)
    np.testing.assert_allclose(answers.outputs[HOME]["known:mcm"], expected, rtol=1e-5)
    assert zero_shot.outputs["test"]["prediction"].tolist() == cosines.argmax(1).tolist()
    assert answers.value("auroc:mcm", "f") > 0.7


def test_prompts_need_words_and_the_space_they_share(world: Any, home: Dataset) -> None:
    data = {"train": [home], "far": [others(world, "f", 5)]}
    assert "has no text tower" in (Detect(scores=("mcm",)).refusal(world.nobody, data) or "")
    numbered = {**data, "train": [replace(home, classes=("0", "1", "2", "3"))]}
    assert "no name that says what they are" in (Detect(scores=("mcm",)).refusal(Matching(), numbered) or "")
    assert Detect().refusal(Matching(), numbered) is None
    answers = world.run(Detect(**QUICK), backbone=Matching(), train=numbered["train"], far=data["far"])
    assert "no name that says what they are" in answers.notes["scores_left_out"].value["mcm"]


def test_refusals_are_sentences(world: Any, home: Dataset) -> None:
    near, far = others(world, "n", 3), others(world, "f", 4, 8)

    def why(**data: list[Dataset]) -> str:
        return Detect().refusal(world.nobody, {"train": [home]} | data) or ""

    assert why(near=[near], far=[far], validation=[others(world, "v", 5, 12)]) == ""
    assert "give at least one dataset as near or far" in why(validation=[near])
    assert "must differ from one another; got n" in why(near=[near], far=[near])
    assert "must differ" in why(near=[replace(near, name="far")])
    assert "dataset 'f' is both validation and train or tested on" in why(near=[near], far=[far], validation=[far])
    assert "dataset 'home' is both validation" in why(near=[near], validation=[home])
    inside = others(world, "i", 3, 0, ("cat", "dog"))
    assert why(far=[inside]) == (
        "dataset 'i' has no image left to ask: of 60 60 are of in-distribution classes (cat, dog)"
    )
    assert "dataset 'n' has no image left" in why(shifted=[near], far=[far])
    assert "one class only" in (
        Detect().refusal(world.nobody, {"train": [others(world, "o", 1, 0, ("a",))], "far": [far]}) or ""
    )
    assert "'treee'; did you mean 'tree'" in (
        Detect(leave_out=["treee"]).refusal(world.nobody, {"train": [home], "far": [far]}) or ""
    )


def test_scores_and_parameters_that_are_none() -> None:
    with pytest.raises(ValidationError, match="did you mean 'knn'"):
        Detect(scores=("kn",))
    with pytest.raises(ValidationError, match="templates"):
        Detect(templates="clip81")
    with pytest.raises(ValidationError, match="score with a parameter"):
        Detect(parameters={"energy": 3.0})
    for value in (0, -1, np.nan, np.inf):
        with pytest.raises(ValidationError, match="its k is"):
            Detect(parameters={"knn": value})


def test_a_score_asked_for_that_does_not_apply_is_an_error(world: Any, home: Dataset) -> None:
    features, labels = images(4, 200, 1)
    signed = world.dataset("signed", CLASSES, {"train": (features - 3, labels), "test": images(4, 120, 2)})
    far = others(world, "f", 5)
    assert "ash_s" in world.run(Detect(**QUICK), train=signed, far=[far]).notes["scores_left_out"].value
    with pytest.raises(ValueError, match="score 'ash_s': it shares out the sum of activations"):
        world.run(Detect(scores=("ash_s",), **QUICK), train=signed, far=[far])


def test_the_seed_matters_where_it_decides_what_is_val(world: Any, home: Dataset) -> None:
    assert Detect().uses_seed({"train": [home]})
    whole = world.dataset(
        "w", CLASSES, {part: images(4, 40, seed) for seed, part in enumerate(("train", "val", "test"))}
    )
    assert not Detect().uses_seed({"train": [whole]})


@pytest.mark.parametrize("spoiled", ["home/train", "home/test", "s/all", "f/all", "v/all"])
def test_one_bad_feature_anywhere_means_no_score(world: Any, home: Dataset, spoiled: str) -> None:
    sets = {
        "far": [others(world, "f", 5, 12)],
        "validation": [others(world, "v", 6, 8)],
        "shifted": [world.dataset("s", CLASSES, {"all": images(4, 40, 6)})],
    }
    world.features[spoiled][4, 2] = np.nan
    tools, yielded = Tools(world.extract), list[Any]()
    with pytest.raises(FloatingPointError, match=r"first: '[a-z]+/00004.png'"):
        yielded.extend(Detect(**QUICK).run(world.nobody, {"train": [home], **sets}, tools, 0))
    assert not [one for one in yielded if isinstance(one, Score | Outputs)]


@pytest.mark.parametrize("value", [0.0, 3.0, 1e30])
def test_constant_features_are_at_chance_and_warned_of(world: Any, value: float) -> None:
    def same(rows: int) -> tuple[np.ndarray, np.ndarray]:
        return np.full((rows, 8), value, np.float32), np.arange(rows) % 4

    home = world.dataset("home", CLASSES, {"train": same(80), "test": same(40)})
    far = world.dataset("f", ("tree", "car", "sun", "sea"), {"all": same(40)})
    answers = world.run(Detect(**QUICK), train=home, far=[far])
    assert answers.notes["collapsed"].warning
    for (metric, split), score in answers.scores.items():
        if metric.startswith("auroc"):
            assert score.value == 0.5, (metric, split)
