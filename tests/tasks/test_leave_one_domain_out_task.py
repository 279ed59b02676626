"""Leave one domain out: against a probe put together by hand, and whom it cannot be asked of."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from tasks.datasets.base import carve
from tasks.ood.leave_one_domain_out import LeaveOneDomainOut, _divided

CLASSES = tuple("abc")
DOMAINS = ("photo", "sketch", "cartoon")


@pytest.fixture
def domains(world, blobs):
    """Three domains, each shifted its own way; the second has official splits, the third another order of classes."""
    made = {}
    for number, name in enumerate(DOMAINS):
        features, labels = blobs(90, 3, number, dim=6)
        features = (features + np.random.default_rng(number).normal(size=6)).astype(np.float32)
        made[name] = features, labels
    photo = world.dataset("photo", CLASSES, {"all": made["photo"]})
    features, labels = made["sketch"]
    sketch = world.dataset(
        "sketch", CLASSES, {"train": (features[:60], labels[:60]), "test": (features[60:], labels[60:])}
    )
    features, labels = made["cartoon"]
    cartoon = world.dataset("cartoon", ("c", "a", "b"), {"all": (features, (labels + 1) % 3)})
    return [photo, sketch, cartoon], made


def by_hand(made, left_out: str, seed: int, strengths: list[float]) -> float:
    """The protocol written out: scikit-learn, z-scores of what is learnt from, 80/20 a domain, no refit."""
    train, val = [], []
    for name in DOMAINS:
        if name != left_out:
            features, labels = made[name]
            kept, carved = carve(labels, 0.2, seed)
            train.append((features[kept], labels[kept]))
            val.append((features[carved], labels[carved]))
    learnt, asked = ([np.concatenate(each) for each in zip(*part, strict=True)] for part in (train, val))
    mean, std = learnt[0].mean(0), learnt[0].std(0)
    tried = []
    for strength in strengths:
        model = LogisticRegression(C=1 / (strength * len(learnt[1])), tol=1e-8, max_iter=5000)
        model.fit((learnt[0] - mean) / std, learnt[1])
        chances = model.predict_proba((asked[0] - mean) / std)
        loss = -np.log(chances[np.arange(len(asked[1])), asked[1]]).mean()
        tried.append((model.score((asked[0] - mean) / std, asked[1]), -loss, strength, model))
    features, labels = made[left_out]
    return float(max(tried, key=lambda each: each[:3])[3].score((features - mean) / std, labels))


def test_each_domain_is_tested_by_a_probe_of_the_others_alone(world, domains) -> None:
    sets, made = domains
    task = LeaveOneDomainOut(strengths=5)
    answers = world.run(task, seed=3, domains=sets)
    expected = {name: by_hand(made, name, 3, task.grid()) for name in DOMAINS}
    assert {name: answers.value("top1", name) for name in DOMAINS} == pytest.approx(expected)
    assert len(set(expected.values())) == 3, "domains that are all the same would show nothing"
    assert answers["ood_top1"] == pytest.approx(np.mean(list(expected.values())))
    assert all(len(answers.outputs[name]["item"]) == 90 for name in DOMAINS), "every image, official splits or not"
    assert answers.outputs["test"]["item"][0] == "photo/all/00000.png"
    assert len(set(answers.outputs["test"]["item"])) == 270


def test_the_domain_left_out_decides_nothing(world, domains) -> None:
    """Whatever its features and labels are, the probe that is tested on it is the same."""
    sets, _ = domains
    before = world.run(LeaveOneDomainOut(strengths=5), domains=sets)
    split = sets[0].splits["all"]
    features = world.features[split.images.identity]
    world.features[split.images.identity] = (features * -7 + 3).astype(np.float32)
    turned = replace(split, labels=(split.labels + 1) % 3)
    after = world.run(LeaveOneDomainOut(strengths=5), domains=[replace(sets[0], splits={"all": turned}), *sets[1:]])
    for note in ("strength:photo", "val_top1:photo"):
        assert before.notes[note].value == after.notes[note].value
    assert before.value("top1", "photo") != after.value("top1", "photo")
    assert before.notes["val_top1:sketch"].value != after.notes["val_top1:sketch"].value


def test_groups_are_not_divided_between_learning_and_choosing(world, blobs) -> None:
    dataset = world.dataset("photo", CLASSES, {"all": blobs(90, 3, 0)})
    groups = tuple(str(row // 9) for row in range(90))
    grouped = replace(dataset, splits={"all": replace(dataset.splits["all"], groups=groups)})
    divided = _divided(grouped, CLASSES, 0)
    assert sorted([*divided.train, *divided.val]) == list(range(90))
    assert not {groups[row] for row in divided.train} & {groups[row] for row in divided.val}


def test_the_same_file_in_two_domains_is_told(world, domains) -> None:
    sets, _ = domains
    split = sets[0].splits["all"]
    copied = replace(split, sha256=(sets[2].splits["all"].sha256[0], *split.sha256[1:]))
    answers = world.run(LeaveOneDomainOut(strengths=3), domains=[replace(sets[0], splits={"all": copied}), *sets[1:]])
    told = {name: note for name, note in answers.notes.items() if name.startswith("leak:")}
    assert set(told) == {"leak:photo", "leak:cartoon"}
    assert all(note.warning and note.value.startswith("1 of its 90 images") for note in told.values())


def test_refusals_say_why(world, blobs) -> None:
    one = world.dataset("one", CLASSES, {"all": blobs(30, 3, 1)})
    other = world.dataset("other", ("a", "b", "zebra"), {"all": blobs(30, 3, 2)})
    single = world.dataset("single", CLASSES, {"all": (blobs(30, 3, 2)[0], np.zeros(30, np.int64))})
    tiny = world.dataset("tiny", CLASSES, {"all": blobs(3, 3, 2)})

    def why(*domains) -> str:
        return LeaveOneDomainOut().refusal(world.nobody, {"domains": list(domains)}) or ""

    assert "got one" in why(one)
    assert "differ from one another" in why(one, one)
    assert "'one' and 'other' differ in 2: c, zebra" in why(one, other)
    assert "one class only" in why(one, single)
    assert "no class of it has two images" in why(one, tiny)
    assert "no readout 'block9'" in (
        LeaveOneDomainOut(readout="block9").refusal(world.nobody, {"domains": [one, other]}) or ""
    )
