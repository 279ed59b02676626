"""Telling images of classes never learnt from those of the classes that were: out-of-distribution detection."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass as plain_dataclass
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Float32
from pydantic import ConfigDict, Field, field_validator
from pydantic.dataclasses import dataclass

from backbones.base import Backbone, TextEncoder
from backbones.plugins import unknown
from tasks.base import Data, Extract, Note, Outputs, Score, Task, Tools
from tasks.classification.linear import ProbeSettings, train_probe, val_top1
from tasks.classification.parts import is_seeded, learning_refusal, partition_notes
from tasks.classification.probe import Probe, fit
from tasks.classification.prompts import check_templates
from tasks.classification.zero_shot import Words, ZeroShot, ensembles
from tasks.datasets.base import Dataset
from tasks.datasets.partition import Part, Partition, evaluated_on, partition
from tasks.datasets.targets import target_refusal
from tasks.features import features_of
from tasks.ood.choosing import Chosen, chosen_on, published
from tasks.ood.detection_report import HOME, UNKNOWN_ROLES, Asked, detection_scores
from tasks.ood.methods import SCORES
from tasks.ood.scores.base import Head, Learnt, Method, Seen, head_of
from tasks.ood.sifting import Sifted, asked_sets
from tasks.readouts import ChosenReading

CHOSEN_ON = 5000
"""Images of val, and of a validation set, that parameters are chosen on: every n-th of more. Neighbours are slow."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid", coerce_numbers_to_str=True))
class Detect(ChosenReading, ProbeSettings, Task):
    """The probe of ``classification.linear`` learnt on ``train``; its test images told from those of other classes.

    Every score is a number an image, higher for in-distribution, from stored features, the probe's logits of them and,
    for vision-language backbones, the prompts of the classes. For each set of ``near`` and ``far`` (``split`` is its
    name), and in the mean over either, ``auroc:SCORE``, ``aupr_in:SCORE``, ``aupr_out:SCORE`` and ``fpr95:SCORE``. With
    ``shifted`` sets the images of the classes learnt in them are in-distribution too in a second reading of all these,
    ``full_spectrum_auroc:SCORE`` and so on (Yang et al. 2022).

    The headline, ``auroc``, is that of one score, the mean of near's and far's means: the score, and the parameter of
    every score, with the highest mean AUROC of val against the ``validation`` sets (at most 5,000 images of each), by a
    probe learnt from train alone. Without such sets it is the maximum softmax probability (or the first of ``scores``),
    with the parameters their authors published. ``parameters`` fixes some, ``{knn: 10}``. Nothing is chosen on test.

    Images of an unknown set that are of a class learnt (by name), that are the very file of an in-distribution image,
    or of a class in ``leave_out``, are not asked; nor is validation by an image of a test set. ``scores`` are all that
    apply by default. ``templates`` and ``class_names`` are those of ``classification.zero_shot``.
    """

    name: ClassVar[str] = "ood.detect"
    protocol_version: ClassVar[int] = 1
    headline: ClassVar[str] = "auroc"
    roles: ClassVar[Mapping[str, Literal["one", "many", "any"]]] = {
        "train": "one",
        "near": "any",
        "far": "any",
        "shifted": "any",
        "validation": "any",
    }
    files: ClassVar[tuple[str, ...]] = ("class_names", "leave_out")
    texts: ClassVar[bool] = True

    scores: tuple[str, ...] = ()
    parameters: dict[str, float] = Field(default_factory=dict)
    leave_out: tuple[str, ...] = ()
    templates: str | tuple[str, ...] = "single"
    class_names: dict[str, Words] = Field(default_factory=dict)

    @field_validator("scores")
    @classmethod
    def _known_scores(cls, scores: tuple[str, ...]) -> tuple[str, ...]:
        for score in scores:
            if score not in SCORES.found:
                raise unknown("score", score, SCORES.found)
        return tuple(dict.fromkeys(scores))

    @field_validator("templates")
    @classmethod
    def _have_a_place(cls, templates: str | tuple[str, ...]) -> str | tuple[str, ...]:
        check_templates(templates)
        return templates

    @field_validator("parameters")
    @classmethod
    def _known_parameters(cls, parameters: dict[str, float]) -> dict[str, float]:
        having = [name for name in SCORES.found if SCORES.load(name).parameter is not None]
        for name, value in parameters.items():
            if name not in having:
                raise unknown("score with a parameter", name, having)
            if not 0 < value < np.inf:
                raise ValueError(f"{name}: its {SCORES.load(name).parameter.name} is {value}, and must be above 0")
        return parameters

    def uses_seed(self, data: Data) -> bool:
        """Only where the seed decides which images of train are val."""
        return is_seeded(data["train"][0])

    def refusal(self, backbone: Backbone, data: Data) -> str | None:
        """A train set nothing can be learnt from, or sets that are not what their roles say."""
        train = data["train"][0]
        if why := self.unreadable(backbone) or learning_refusal(train) or _confused(data):
            return why
        if why := self._wordless(backbone, train) if "mcm" in self.scores else None:
            return f"score 'mcm': {why}"
        try:
            sets = asked_sets(data, self.leave_out)
        except ValueError as error:
            return str(error)
        return next((each.refusal for several in sets.values() for each in several if each.refusal), None)

    def run(self, backbone: Backbone, data: Data, tools: Tools, seed: int) -> Iterator[Score | Outputs | Note]:
        """Learn, choose, score every set by every score, and compare."""
        if why := self.refusal(backbone, data):
            raise ValueError(why)
        train = data["train"][0]
        sets, parts = asked_sets(data, self.leave_out), partition(train, seed)
        yield from partition_notes(parts)
        extract, notes = self.chosen(backbone, tools.extract, lambda at: val_top1(self, backbone, parts, at))
        yield from notes
        probe, notes = train_probe(self, backbone, train, extract, seed)
        yield from notes
        look = _Look(backbone, extract, self._prompts(backbone, train, tools))
        learnt = look.learnt(parts, head_of(probe))
        methods, unfit = self._methods(learnt)
        if "mcm" in unfit:  # which of the reasons for having no prompts it was
            unfit["mcm"] = self._wordless(backbone, train) or unfit["mcm"]
        yield Note("scores_left_out", unfit)
        choice = self._choice(methods, probe, learnt, look, parts, sets["validation"])
        yield from choice.notes(methods)
        asked = list(_asked(sets, parts, look, head_of(probe)))
        yield from _told(sets, asked)
        yield from detection_scores(methods, choice, learnt, asked)

    def _choice(
        self,
        methods: Mapping[str, Method],
        probe: Probe,
        learnt: Learnt,
        look: "_Look",
        parts: Partition,
        held_out: list[Sifted],
    ) -> Chosen:
        """By a probe that has not seen val, of the same strength; the final one has."""
        if not held_out:
            return published(methods, learnt, self.parameters)
        classes = len(learnt.seen.head.weights)
        features, labels = features_of(look.backbone, parts.train, look.extract), parts.train.labels
        head = head_of(fit(features, labels, classes, probe.strength, self.tolerance))
        unknown = [look.seen(_thinned(each.part), head) for each in held_out]
        first = Learnt(Seen(features, head, look.prompts), labels)
        return chosen_on(methods, first, look.seen(_thinned(parts.val), head), unknown, self.parameters)

    def _methods(self, learnt: Learnt) -> tuple[dict[str, Method], dict[str, str]]:
        """The scores asked for, or all that apply, and why others do not.

        Raises ``ValueError`` for one asked for that does not.
        """
        methods: dict[str, Method] = {name: SCORES.load(name) for name in self.scores or SCORES.found}
        unfit = {name: why for name, method in methods.items() if (why := method.unfit(learnt))}
        if self.scores and unfit:
            raise ValueError("; ".join(f"score {name!r}: {why}" for name, why in unfit.items()))
        return {name: method for name, method in methods.items() if name not in unfit}, unfit

    def _prompts(self, backbone: Backbone, train: Dataset, tools: Tools) -> Float32[np.ndarray, "classes dim"] | None:
        if self._wordless(backbone, train):
            return None
        return ensembles(tools.embed_text(backbone, self._zero_shot().prompts(train)), len(train.classes))

    def _zero_shot(self) -> ZeroShot:
        return ZeroShot(templates=self.templates, class_names=self.class_names)

    def _wordless(self, backbone: Backbone, train: Dataset) -> str | None:
        """Why images cannot be compared with prompts."""
        if not isinstance(backbone, TextEncoder):
            return f"backbone {backbone.card.name!r} has no text tower (only vision-language backbones have)"
        if self.readout != "pooled" or self.select != "none":
            return "prompts share a space with the pooled features alone"
        try:
            self._zero_shot().prompts(train)
        except (ValueError, ImportError) as error:
            return str(error)
        return None


@plain_dataclass(frozen=True)
class _Look:
    """How images are seen: by which backbone, at which readout, beside which prompts."""

    backbone: Backbone
    extract: Extract
    prompts: Float32[np.ndarray, "classes dim"] | None

    def seen(self, part: Part, head: Head) -> Seen:
        features = features_of(self.backbone, part, self.extract)
        if self.prompts is not None and self.prompts.shape[1] != features.shape[1]:
            raise ValueError(
                f"{self.backbone.card.name} embeds images in {features.shape[1]} dimensions and text in "
                f"{self.prompts.shape[1]}; they must share one space"
            )
        return Seen(features, head, self.prompts)

    def learnt(self, parts: Partition, head: Head) -> Learnt:
        """Train and val together, as the probe has seen them."""
        features = [features_of(self.backbone, part, self.extract) for part in (parts.train, parts.val)]
        labels = np.concatenate([parts.train.labels, parts.val.labels])
        return Learnt(Seen(np.concatenate(features), head, self.prompts), labels)


def _confused(data: Data) -> str | None:
    """Why the sets cannot be told apart, by role or by name."""
    tested = [each for role in (*UNKNOWN_ROLES, "shifted") for each in data.get(role, ())]
    if not any(data.get(role) for role in UNKNOWN_ROLES):
        return "there is nothing to detect: give at least one dataset as near or far"
    names = [each.name for each in tested]
    if twice := [name for name in names if names.count(name) > 1 or name in (HOME, *UNKNOWN_ROLES, "test")]:
        return f"the near, far and shifted datasets must differ from one another; got {', '.join(twice)}"
    for each in data.get("shifted", ()):
        if why := target_refusal(each):
            return why
    manifests = {each.manifest_sha256 for each in [*data["train"], *tested]}
    same = [each.name for each in data.get("validation", ()) if each.manifest_sha256 in manifests]
    return f"dataset {same[0]!r} is both validation and train or tested on; choose on another" if same else None


def _asked(sets: Mapping[str, list[Sifted]], parts: Partition, look: _Look, head: Head) -> Iterator[Asked]:
    yield Asked(HOME, HOME, parts.test, look.seen(parts.test, head))
    for role in ("shifted", *UNKNOWN_ROLES):
        for one in sets[role]:
            yield Asked(one.name, role, one.part, look.seen(one.part, head))


def _told(sets: Mapping[str, list[Sifted]], asked: list[Asked]) -> Iterator[Note]:
    """Of each set: which part of it is asked, what is left out of it, and whether a backbone saw nothing in some."""
    for each in asked[1:]:
        yield Note(f"test_part:{each.name}", evaluated_on(each.part))
    for one in (one for several in sets.values() for one in several):
        yield from one.notes()
    for each in asked:
        if zeros := int((~each.seen.features.any(1)).sum()):
            told = f"{zeros} of {len(each.part)} images have features that are all zero: they are scored as they are"
            yield Note(f"zeros:{each.name}", told, warning=True)


def _thinned(part: Part) -> Part:
    """Every n-th image of many, over all of the part."""
    if len(part) <= CHOSEN_ON:
        return part
    return part.only(np.linspace(0, len(part) - 1, CHOSEN_ON).round().astype(np.int64))


TASKS = {"ood.detect": Detect}
