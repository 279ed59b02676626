"""Accuracy under attack: the share of images that no change within a budget moves to another class."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import pairwise
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from pydantic import ConfigDict, Field, field_validator, model_validator
from pydantic.dataclasses import dataclass
from torch import Tensor

from backbones.base import Backbone, Classifier, resolve_device
from backbones.feature_run import sampled
from backbones.images import decode_row
from backbones.preprocessing import choose, fit_by
from tasks.base import Data, Note, Outputs, Score, Task, Tools
from tasks.classification.competing import compete
from tasks.classification.finetune import FineTune
from tasks.classification.linear import ProbeSettings, train_probe
from tasks.classification.parts import learning_refusal, partition_notes
from tasks.datasets.base import Dataset
from tasks.datasets.partition import TEST_SEED, Part, evaluated_on, evaluation_part, partition
from tasks.ood.attacks.ensemble import AttackName, Fallen, Pictures, attacks_of, fall
from tasks.ood.attacks.threat import Norm, Threat
from tasks.ood.masking import signs_of_masking
from tasks.ood.matched import headless, match_refusal
from tasks.ood.pixel_model import PixelModel, gradient_refusal, probe_head
from tasks.readouts import Reading

BUDGETS: Mapping[Norm, tuple[str, ...]] = {
    "linf": ("0.25/255", "0.5/255", "1/255", "2/255", "4/255"),
    "l2": ("0.05", "0.1", "0.25", "0.5", "1"),
}
"""From where networks trained without defence begin to fall, to the budgets of RobustBench's ImageNet and CIFAR-10."""
BATCH_SIZES = {"cpu": 32}
"""Images attacked at once; on other devices 64, since a backward pass holds every activation."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid", coerce_numbers_to_str=True))
class Adversarial(Reading, ProbeSettings, Task):
    """Robust accuracy at each budget, of a linear probe of frozen features, of the checkpoint's head, or fine-tuned.

    ``classifier``: ``probe`` is that of ``classification.linear``; ``own`` the checkpoint's head; ``finetune`` the
    network that ``classification.finetune`` trains, whose settings ``finetune`` takes.

    What is attacked are pixels in [0, 1] after the backbone's resize and crop (RobustBench's convention), before its
    normalisation; gradients go through both. An image is robust where its class scores above every other one at every
    point that any of ``attacks`` finds in the ball of the budget; only images still robust are attacked again, and
    what falls at one budget counts as fallen at the larger. ``images`` test images are drawn, stratified, the same for
    every seed; the seed decides the attacks' random starts. The dataset's classes compete.

    - accuracy (split ``clean``); robust_accuracy (split ``linf-4/255``, one a budget);
    - mean_robust_accuracy: the mean over the budgets, which is the area under the curve at those points.

    ``budgets`` are radii as text, rising: ``4/255`` or ``0.5``; none given are those of the norm. ``steps`` are those
    of each gradient attack, ``queries`` those of ``square``, ``targets`` the classes tried by ``apgd-targeted``.

    An upper bound, as every attack's is, and a wrong one where gradients lead astray. So signs of that are always
    counted (note ``gradient_checks``), and where one shows a warning, ``gradient_masking``, says not to believe it.
    """

    name: ClassVar[str] = "ood.adversarial"
    protocol_version: ClassVar[int] = 1
    headline: ClassVar[str] = "mean_robust_accuracy"
    roles: ClassVar[Mapping[str, Literal["one", "many", "any"]]] = {"dataset": "one"}

    classifier: Literal["probe", "own", "finetune"] = "probe"
    finetune: dict[str, Any] = Field(default_factory=dict, validate_default=True)
    norm: Norm = "linf"
    budgets: tuple[str, ...] = ()
    attacks: tuple[AttackName, ...] = Field(default=("apgd-ce", "apgd-targeted", "square"), min_length=1)
    steps: int = Field(default=40, ge=1, le=1000)
    queries: int = Field(default=500, ge=1, le=100_000)
    targets: int = Field(default=9, ge=1, le=999)
    images: int = Field(default=200, ge=1)

    @field_validator("finetune")
    @classmethod
    def _recipe(cls, finetune: dict[str, Any], so_far: Any) -> dict[str, Any]:
        """Every setting of the fine-tuning, defaults too, so that each is part of the key."""
        if so_far.data.get("classifier") == "finetune":
            return asdict(FineTune(**finetune))
        if finetune:
            raise ValueError("finetune holds the settings of classifier: finetune, which this is not")
        return finetune

    @field_validator("budgets")
    @classmethod
    def _rise(cls, budgets: tuple[str, ...]) -> tuple[str, ...]:
        radii = [radius_of(each) for each in budgets]
        if any(later <= earlier for earlier, later in pairwise(radii)):
            raise ValueError(f"budgets must rise, each above the one before; got {', '.join(budgets)}")
        return budgets

    @field_validator("attacks")
    @classmethod
    def _differ(cls, attacks: tuple[AttackName, ...]) -> tuple[AttackName, ...]:
        if len(set(attacks)) < len(attacks):
            raise ValueError(f"an attack is named twice: {', '.join(attacks)}")
        return attacks

    @model_validator(mode="after")
    def _fits(self) -> "Adversarial":
        if self.classifier != "probe" and self.readout != "pooled":
            raise ValueError(f"classifier: {self.classifier} reads the backbone at its end; leave readout out")
        if self.norm == "linf" and any(radius_of(each) > 1 for each in self.budgets):
            raise ValueError(
                f"pixels are in [0, 1], so an linf budget is at most 1: write 4/255 for four grey levels; got "
                f"{', '.join(self.budgets)}"
            )
        return self

    def threats(self) -> dict[str, Threat]:
        """What is allowed at each budget, smallest first, by the name of its split."""
        return {
            f"{self.norm}-{each}": Threat(self.norm, radius_of(each)) for each in self.budgets or BUDGETS[self.norm]
        }

    def uses_seed(self, data: Data) -> bool:
        """Always: attacks start at random points."""
        return True

    def refusal(self, backbone: Backbone, data: Data) -> str | None:
        """No classifier to be had, or images with padding. Whether there is a gradient is found when it is run."""
        dataset = data["dataset"][0]
        if backbone.preprocess.crop == "pad":
            return (
                f"backbone {backbone.card.name!r} fills its images up with padding, which is no part of an image that "
                "an adversary could change"
            )
        if self.classifier == "probe":
            return self.unreadable(backbone) or learning_refusal(dataset)
        if self.classifier == "finetune":
            return FineTune(**self.finetune).refusal(backbone, data)
        if why := headless(backbone, dataset):
            return why
        assert isinstance(backbone, Classifier)
        try:
            return match_refusal(evaluation_part(dataset), dataset, backbone.classes, "the checkpoint's head")
        except ValueError as error:
            return str(error)

    def run(self, backbone: Backbone, data: Data, tools: Tools, seed: int) -> Iterator[Score | Outputs | Note]:
        """Make the classifier, look whether its gradients can be trusted, attack."""
        if why := self.refusal(backbone, data):
            raise ValueError(why)
        dataset, device = data["dataset"][0], resolve_device(tools.execution.device)
        layer = "logits" if self.classifier == "own" else self.readout
        if why := gradient_refusal(PixelModel(backbone, layer, lambda features: features.flatten(1), device)):
            raise ValueError(why)
        if self.classifier == "own":
            model, part, notes = _own_head(backbone, dataset, device)
        elif self.classifier == "probe":
            model, part, notes = self._probe(backbone, dataset, tools, seed, device)
        else:
            model, part, notes = self._tuned(backbone, dataset, tools, seed, device)
        yield from notes
        rows = stratified(part.labels, self.images, TEST_SEED)
        chosen = part.only(rows)
        yield Note("no_floor", "what knows little may be hard to move: robust accuracy has no floor in pixels or twins")
        yield Note("images_attacked", f"{len(chosen)} of {len(part)}, stratified, the same for every seed")
        size = tools.execution.device_batch or BATCH_SIZES.get(device.type, 64)
        pictures = Pictures(pixels_of(backbone, chosen), chosen.labels, seed, device, size)
        threats = self.threats()
        yield from self._checks(model, pictures, list(threats.values())[-1])
        attacks = attacks_of(self.attacks, self.steps, self.queries, self.targets)
        fallen = fall(model, pictures, list(threats.values()), attacks)
        yield from _report(fallen, chosen, list(threats))

    def _probe(
        self, backbone: Backbone, dataset: Dataset, tools: Tools, seed: int, device: torch.device
    ) -> tuple[PixelModel, Part, list[Note]]:
        parts = partition(dataset, seed)
        probe, notes = train_probe(self, backbone, dataset, self.reading(tools.extract), seed)
        model = PixelModel(backbone, self.readout, probe_head(probe, device), device)
        return model, parts.test, [*partition_notes(parts), Note("readout", self.readout), *notes]

    def _tuned(
        self, backbone: Backbone, dataset: Dataset, tools: Tools, seed: int, device: torch.device
    ) -> tuple[PixelModel, Part, list[Note]]:
        from tasks.classification.tuned_network import TunedNetwork  # imports torch's trainers, which boards need not

        parts = partition(dataset, seed)
        _, _, fitted, notes = FineTune(**self.finetune).trained(backbone, dataset, tools, seed)
        assert isinstance(fitted.model, TunedNetwork)
        network = fitted.model.network
        model = PixelModel(network.trunk.backbone, "pooled", network.head.requires_grad_(False).to(device), device)
        return model, parts.test, [*partition_notes(parts), *notes]

    def _checks(self, model: PixelModel, pictures: Pictures, largest: Threat) -> Iterator[Note]:
        signs = signs_of_masking(model, pictures, largest, self.steps, self.queries)
        if signs is None:
            yield Note("gradient_checks", "none: no image is right even as it is", True)
            return
        yield Note("gradient_checks", asdict(signs))
        if suspicions := list(signs.suspicions()):
            yield Note(
                "gradient_masking",
                f"the gradients lead astray, so the robust accuracy is not to be believed: {'; '.join(suspicions)}",
                True,
            )


def radius_of(budget: str) -> float:
    """A budget in numbers: ``4/255`` or ``0.5``. Raises ``ValueError`` for what is no finite number above zero.

    >>> radius_of("0.5"), radius_of("51/255")
    (0.5, 0.2)
    """
    above, _, below = budget.partition("/")
    try:
        radius = float(above) / float(below or 1)
    except (ValueError, ZeroDivisionError):
        radius = float("nan")
    if not 0 < radius < float("inf"):
        raise ValueError(f"a budget is a number above zero such as 4/255 or 0.5, not {budget!r}")
    return radius


def stratified(labels: Int64[np.ndarray, " n"], count: int, seed: int) -> Int64[np.ndarray, " m"]:
    """``count`` rows (all, where there are fewer), sorted, each class as near its share of them as can be.

    >>> labels = np.array([0, 0, 0, 0, 1, 1, 0, 0])
    >>> np.bincount(labels[stratified(labels, 4, seed=0)]).tolist()
    [3, 1]
    """
    generator = np.random.default_rng(seed)
    place = np.empty(len(labels))
    for label in np.unique(labels):
        rows = generator.permutation(np.flatnonzero(labels == label))
        place[rows] = (np.arange(len(rows)) + 0.5) / len(rows)  # its rank in its class, of one
    shuffled = generator.permutation(len(labels))  # so that of equal ranks not always the first classes win
    return np.sort(shuffled[np.argsort(place[shuffled], kind="stable")[:count]])


def pixels_of(backbone: Backbone, part: Part) -> UInt8[Tensor, "n 3 height width"]:
    """The images as the backbone is shown them, before normalisation, by the same way as features are made of them."""
    samples = [decode_row(part.images, row) for row in sampled(len(part.images))]
    fit = fit_by(choose(backbone.preprocess, samples), backbone.preprocess)
    return torch.stack([fit(decode_row(part.images, int(row))).contiguous() for row in part.rows])


def _own_head(backbone: Backbone, dataset: Dataset, device: torch.device) -> tuple[PixelModel, Part, list[Note]]:
    """The head over the dataset's classes, and the images of those it has, labelled by output."""
    assert isinstance(backbone, Classifier)
    competition, part = compete(dataset.classes, backbone.classes, mask=True), evaluation_part(dataset)
    wanted = competition.of_class[part.labels]
    known = np.flatnonzero(wanted >= 0)
    labels = wanted[known]
    groups = [torch.tensor(group, device=device) for group in competition.groups]
    notes = [Note("test_part", evaluated_on(part)), Note("classes_competing", len(groups))]
    if len(known) < len(part):
        lost = f"{len(part) - len(known)} of {len(part)} images are of classes without an output"
        notes.append(Note("left_out", lost, True))

    def head(logits: Tensor) -> Tensor:
        return torch.stack([logits.float()[:, group].amax(1) for group in groups], 1)

    model = PixelModel(backbone, "logits", head, device)
    return model, replace(part.only(known), labels=labels), notes


def _report(fallen: Fallen, part: Part, splits: Sequence[str]) -> Iterator[Score | Outputs | Note]:
    items = np.asarray(part.names, dtype=object)
    right = (fallen.budget >= 0).astype(np.float64)
    robust = [(fallen.budget > place).astype(np.float64) for place in range(len(splits))]
    mean = np.mean(robust, axis=0)
    yield Score("mean_robust_accuracy", float(mean.mean()), mean)
    where = [*splits, "clean"]  # place -1 is the last
    broken_at = ["" if place >= len(splits) else where[place] for place in fallen.budget.tolist()]
    columns = {
        "label": part.labels,
        "prediction": fallen.prediction,
        "broken_at": np.asarray(broken_at, dtype=object),
        "broken_by": np.asarray(fallen.attack, dtype=object),
    }
    yield Outputs({"item": items, **columns})
    for split, each in (("clean", right), *zip(splits, robust, strict=True)):
        yield Score("accuracy" if split == "clean" else "robust_accuracy", float(each.mean()), each, split)
        yield Outputs({"item": items, "correct": each}, split)
    counts = Counter(f"{at} by {by}" for at, by in zip(broken_at, fallen.attack, strict=True) if by)
    yield Note("fallen", dict(counts))


TASKS = {"ood.adversarial": Adversarial}
