"""How far a classifier's confidence is from its accuracy, at home and abroad, before and after temperature scaling."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass as plain_dataclass
from dataclasses import replace
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Float32
from pydantic import ConfigDict, model_validator
from pydantic.dataclasses import dataclass

from backbones.base import Backbone, Classifier
from tasks.base import Data, Note, Outputs, Score, Task, Tools
from tasks.classification.calibration import Binned, brier, classwise_error, equal_mass, equal_width, error_intervals
from tasks.classification.competing import compete
from tasks.classification.linear import ProbeSettings, strength_notes, val_top1
from tasks.classification.metrics import negative_log_likelihood, softmax, top_k_correct
from tasks.classification.parts import is_seeded, learning_refusal, partition_notes
from tasks.classification.probe import Probe, choose, scaling_of
from tasks.classification.report import report
from tasks.classification.temperature import Temperature, fit_temperature
from tasks.datasets.base import Dataset, carve_groups
from tasks.datasets.partition import TEST_SEED, Part, evaluated_on, evaluation_part, partition, whole_part
from tasks.datasets.targets import target_refusal
from tasks.features import collapse_notes, features_of
from tasks.ood.matched import Matched, headless, match_refusal, matched
from tasks.readouts import ChosenReading

HOME = "in-distribution"


@plain_dataclass(frozen=True)
class _Asked:
    """A classifier over ``classes``, the images its temperature is fitted on, and those it is tested on at home."""

    classes: tuple[str, ...]
    scores: Callable[[Part], Float32[np.ndarray, "n classes"]]
    fitted_on: Part
    tested_on: Part


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Calibration(ChosenReading, ProbeSettings, Task):
    """Calibration on ``train``'s own test images (split ``in-distribution``) and on each ``test`` set (its name).

    ``classifier: probe`` is the probe of ``classification.linear`` learnt from train alone: its strength is chosen on
    val by top-1, and one temperature is fitted on val's labels, which the probe's weights have never seen (so the probe
    is not refitted on val, and a little less accurate than there). Choosing one of a few strengths and one number by
    the same val is the double use that Guo et al. 2017 make of it; neither ever sees a test image. ``classifier: own``
    is the checkpoint's own head. It may have learnt from any part of the train split, so its temperature is fitted on
    an official val split, or else on one half of the test images (as Guo et al. halved ImageNet's), and the other half
    is tested; the halves are the same for every seed.

    Classes are matched by name; only train's compete at home, and only those a test set shares with them there. For
    each split, as the classifier is and again with its logits divided by the temperature (``scaled_...``):

    - nll (nats), brier (sum over classes, 0 to 2), both with their items;
    - ece: 15 bins of equal width (Guo et al. 2017); adaptive_ece: 15 bins of equal counts, equal confidences never
      divided (Nguyen and O'Connor 2015; Nixon et al. 2019); classwise_ece: mean over classes (Kull et al. 2019). Noise
      alone makes all three positive, the more the fewer images;
    - rms_ce: root mean square error in the bins of adaptive_ece without that bias (Kumar et al. 2019).

    A temperature changes no prediction. The items hold ``confidence``, ``scaled_confidence`` and ``correct``.
    """

    name: ClassVar[str] = "ood.calibration"
    protocol_version: ClassVar[int] = 1
    headline: ClassVar[str] = "nll"
    roles: ClassVar[Mapping[str, Literal["one", "many", "any"]]] = {"train": "one", "test": "any"}

    classifier: Literal["probe", "own"] = "probe"

    @model_validator(mode="after")
    def _head_is_read_at_its_place(self) -> "Calibration":
        if self.classifier == "own" and (self.readout != "pooled" or self.select != "none"):
            raise ValueError("classifier: own reads the head where it is; leave readout and select out")
        return self

    def uses_seed(self, data: Data) -> bool:
        """Only where it decides which images of train are val, for a probe."""
        return self.classifier == "probe" and is_seeded(data["train"][0])

    def refusal(self, backbone: Backbone, data: Data) -> str | None:
        """No classifier to be had, nothing to fit a temperature on, or a test set without classes in common."""
        train, tests = data["train"][0], data.get("test", ())
        why = self._unlearnable(backbone, train) if self.classifier == "probe" else _own_refusal(backbone, train)
        if why:
            return why
        names = [test.name for test in tests]
        if len(set(names)) < len(names) or HOME in names or train.manifest_sha256 in {t.manifest_sha256 for t in tests}:
            return (
                f"the test datasets must differ from one another and from {train.name!r}, whose own test images are "
                f"always tested; got {', '.join(names)}"
            )
        classes = train.classes if self.classifier == "probe" else _own_classes(backbone, train)
        return next((why for test in tests if (why := _foreign(train, test, classes))), None)

    def run(self, backbone: Backbone, data: Data, tools: Tools, seed: int) -> Iterator[Score | Outputs | Note]:
        """Fit the temperature, then measure before and after it, at home and abroad."""
        if why := self.refusal(backbone, data):
            raise ValueError(why)
        train = data["train"][0]
        if self.classifier == "probe":
            asked, notes = self._probe(backbone, train, tools, seed)
        else:
            asked, notes = _own_head(backbone, train, tools)
        yield from notes
        held_out = matched(asked.scores(asked.fitted_on), asked.fitted_on, train, asked.classes)
        temperature = fit_temperature(held_out.scores, held_out.labels)
        yield from _temperature_notes(temperature, held_out)
        home = matched(asked.scores(asked.tested_on), asked.tested_on, train, asked.classes)
        yield from _left_out(home, train.name)
        yield from calibration_of(home, temperature.value, HOME)
        for test in data.get("test", ()):
            part = evaluation_part(test)
            away = matched(asked.scores(part), part, test, asked.classes)
            yield Note(f"test_part:{test.name}", evaluated_on(part))
            if len(away.classes) < len(asked.classes):
                yield Note(f"classes:{test.name}", list(away.classes))
            yield from _left_out(away, test.name)
            yield from calibration_of(away, temperature.value, test.name)

    def _unlearnable(self, backbone: Backbone, train: Dataset) -> str | None:
        return self.unreadable(backbone) or learning_refusal(train)

    def _probe(self, backbone: Backbone, train: Dataset, tools: Tools, seed: int) -> tuple[_Asked, list[Note]]:
        """Fitted to the train part alone, so that val's labels are news to it."""
        parts = partition(train, seed)
        extract, chosen = self.chosen(backbone, tools.extract, lambda at: val_top1(self, backbone, parts, at))
        learnt, val = ((features_of(backbone, part, extract), part.labels) for part in (parts.train, parts.val))
        choice = choose(learnt, val, len(train.classes), self.grid(), self.tolerance)
        probe = Probe(scaling_of(learnt[0]), choice.start, choice.strength)
        best = self.grid().index(choice.strength)
        notes = [*partition_notes(parts), *chosen, *collapse_notes(learnt[0], "train")]
        notes += strength_notes(self, best, "top1", choice.accuracy)
        if not bool(choice.start.converged.all()):
            reached = float(choice.start.gradient_norm[0])
            notes.append(Note("not_converged", f"largest gradient entry {reached:.1e} after the last iteration", True))
        asked = _Asked(
            train.classes, lambda part: probe.logits(features_of(backbone, part, extract)), parts.val, parts.test
        )
        return asked, notes


def calibration_of(found: Matched, temperature: float, split: str) -> Iterator[Score | Outputs]:
    """The scores of classification, those of calibration before and after the temperature, and the items."""
    scaled = found.scores.astype(np.float64) / temperature
    correct = top_k_correct(found.scores, found.labels, 1)
    before, after = softmax(found.scores), softmax(scaled)
    binned = _binned(before, correct, "") | _binned(after, correct, "scaled_")
    intervals = error_intervals({name: each for name, each in binned.items() if name.endswith("ece")})
    for answer in report(found.scores, found.labels, found.items, split):
        if isinstance(answer, Outputs):
            columns = {"scaled_confidence": after.max(1)}
            columns["scaled_probability_of_label"] = after[np.arange(len(found.labels)), found.labels]
            yield replace(answer, columns={**answer.columns, **columns})
        elif answer.metric == "ece":
            yield replace(answer, interval=intervals["ece"])
        else:
            yield answer
    losses = negative_log_likelihood(scaled, found.labels)
    yield Score("scaled_nll", float(losses.mean()), losses, split, higher_is_better=False, unit="nats")
    for prefix, chances in (("", before), ("scaled_", after)):
        squares = brier(chances, found.labels)
        yield Score(f"{prefix}brier", float(squares.mean()), squares, split, False, unit="squares")
        yield Score(f"{prefix}classwise_ece", classwise_error(chances, found.labels), None, split, False)
    for name, each in binned.items():
        if name.endswith("rms_ce"):
            yield Score(name, each.root_mean_square_error(), None, split, False)
        elif name != "ece":  # which report has given
            yield Score(name, each.error(), None, split, False, interval=intervals[name])


def _binned(chances: np.ndarray, correct: np.ndarray, prefix: str) -> dict[str, Binned]:
    confidence = chances.max(1)
    even = Binned(correct - confidence, equal_mass(confidence))
    wide = Binned(correct - confidence, equal_width(confidence))
    return {f"{prefix}ece": wide, f"{prefix}adaptive_ece": even, f"{prefix}rms_ce": even}


def _temperature_notes(temperature: Temperature, held_out: Matched) -> Iterator[Note]:
    yield Note("temperature", temperature.value)
    yield Note("temperature_images", len(held_out.labels))
    losses = [negative_log_likelihood(held_out.scores.astype(np.float64) / t, held_out.labels).mean()
              for t in (1.0, temperature.value)]  # fmt: skip
    yield Note("nll_on_val", {"before": float(losses[0]), "after": float(losses[1])})
    if temperature.bound is None:
        return
    why = {
        "lowest": "the held-out labels grow likelier down to the lowest temperature of the range, as they do where "
        "every image is right; the scaled scores are no calibration",
        "highest": "the held-out labels follow the scores no better than chance; it is the highest of the range",
        "flat": "the scores of every held-out image are all alike, so that no temperature changes anything",
    }
    yield Note("temperature_at_bound", why[temperature.bound], True)


def _left_out(found: Matched, name: str) -> Iterator[Note]:
    if found.left_out:
        total = found.left_out + len(found.labels)
        yield Note(f"left_out:{name}", f"{found.left_out} of {total} images are of classes without an output", True)


def _foreign(train: Dataset, test: Dataset, classes: tuple[str, ...]) -> str | None:
    if why := target_refusal(test):
        return why
    try:
        part = evaluation_part(test)
    except ValueError as error:
        return str(error)
    return match_refusal(part, test, classes, f"the classifier of {train.name!r}")


def _own_classes(backbone: Backbone, train: Dataset) -> tuple[str, ...]:
    assert isinstance(backbone, Classifier)
    return compete(train.classes, backbone.classes, mask=True).names(backbone.classes)


def _own_refusal(backbone: Backbone, train: Dataset) -> str | None:
    if why := headless(backbone, train):
        return why
    assert isinstance(backbone, Classifier)
    try:
        fitted_on, tested_on, _ = _held_out(train)
    except ValueError as error:
        return str(error)
    parts = (match_refusal(part, train, backbone.classes, "the checkpoint's head") for part in (fitted_on, tested_on))
    return next((why for why in parts if why), None)


def _own_head(backbone: Backbone, train: Dataset, tools: Tools) -> tuple[_Asked, list[Note]]:
    assert isinstance(backbone, Classifier)
    competition = compete(train.classes, backbone.classes, mask=True)
    classes = competition.names(backbone.classes)

    def scores(part: Part) -> Float32[np.ndarray, "n classes"]:
        return competition.scores(features_of(backbone, part, tools.extract, "logits"))

    fitted_on, tested_on, origin = _held_out(train)
    notes = [*(Note(name, words) for name, words in origin.items()), Note("classes_competing", len(classes))]
    return _Asked(classes, scores, fitted_on, tested_on), notes


def _held_out(dataset: Dataset) -> tuple[Part, Part, dict[str, str]]:
    """Images to fit a temperature on, others to test on, none of train, and where they came from."""
    part = evaluation_part(dataset)
    if "val" in dataset.splits and part.split == "test" and len(dataset.splits["val"]):
        val = dataset.splits["val"]
        return whole_part("val", val), part, {"val_part": "official", "test_part": "official"}
    groups = dataset.splits[part.split].groups
    first, second = carve_groups(groups or [str(row) for row in part.rows.tolist()], 0.5, TEST_SEED)
    if not len(first) or not len(second):
        raise ValueError(f"dataset {dataset.name!r}: its {part.split} split cannot be halved: it has {len(part)} image")
    one, other = (part.only(rows) for rows in (first, second))
    words = f"half of {part.split}, shuffled, the same for every seed"
    return one, other, {"val_part": f"one {words}", "test_part": f"the other {words}"}


TASKS = {"ood.calibration": Calibration}
