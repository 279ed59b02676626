"""Fine-tuning: the whole backbone and a fresh head trained on a dataset, by one recipe for every family."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields, replace
from typing import Any, ClassVar, Literal

import torch
from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass
from torch import nn

from backbones.base import Backbone
from backbones.plugins import unknown
from backbones.training.augmentation import Augmentation
from backbones.training.curves import draw_curves
from backbones.training.evaluation import predictions
from backbones.training.execution import LOGS, Execution
from backbones.training.images_stream import ImagesStream
from backbones.training.logs import Logs
from backbones.training.loop import fit
from backbones.training.outcomes import Fitted
from backbones.training.recipe import Recipe
from backbones.training.trainee import Trainee
from tasks.base import Data, Note, Outputs, Score, Task, Tools
from tasks.classification.finetune_presets import PRESETS
from tasks.classification.head_start import HeadStart, ProbeHead, draw
from tasks.classification.objectives import Objective, objective_of
from tasks.classification.parts import learning_refusal, partition_notes
from tasks.classification.tuned_network import TunedNetwork
from tasks.datasets.base import Dataset, Target
from tasks.datasets.joined import join
from tasks.datasets.partition import Part, Partition, partition
from tasks.presets import Presets
from tasks.search import Choice, Found, Search, find


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class FineTuning(Presets, Search, Recipe, Augmentation, Task):
    """The scores of the dataset's kind of target, after training on train and val and testing once.

    The defaults, ``preset: light``, are a short recipe for one GPU whose learning rate is chosen on val. With
    ``trials`` above 1 settings are chosen with train alone; whatever is chosen is then trained on both. The last
    epoch's weights (their average, with ``average_decay``) are tested; nothing is chosen by the test part.
    ``label_smoothing`` and mixing are for classes; ``drop_path`` acts where the architecture has a place for it.
    ``head`` is where the head starts: at a linear ``probe`` of the frozen features (of one class an image; Kumar et al.
    2022), at ``zeros``, or drawn (``xavier``).
    """

    protocol_version: ClassVar[int] = 1
    kind: ClassVar[Target]
    roles: ClassVar[Mapping[str, Literal["one", "many"]]] = {"dataset": "one"}
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = PRESETS

    epochs: int = Field(default=12, ge=1)
    global_batch: int = Field(default=64, ge=1)
    learning_rate: float = Field(default=3e-4, gt=0)
    warmup_epochs: float = Field(default=1.0, ge=0)
    layer_decay: float = Field(default=0.75, gt=0, le=1)
    crop_scale: tuple[float, float] = (0.35, 1.0)
    label_smoothing: float = Field(default=0.1, ge=0, lt=1)
    drop_path: float = Field(default=0.0, ge=0, lt=1)
    head: HeadStart = "probe"
    trials: int = Field(default=4, ge=1, le=256)
    space: Mapping[str, tuple[float, ...]] = Field(default_factory=lambda: {"learning_rate": (1e-4, 1e-3, 3e-3)})

    @model_validator(mode="after")
    def _every_choice_is_a_recipe(self) -> "FineTuning":
        numbers = [each.name for each in fields(Recipe) if each.name != "epochs"]
        numbers += [each.name for each in fields(Augmentation)] + ["label_smoothing", "drop_path"]
        for name, values in self.space.items():
            if name not in numbers:
                raise unknown("setting in space", name, numbers)
            for value in values:
                _with(self, {name: value}, self.epochs)
        if self.head == "probe" and self.kind != "class":
            raise ValueError("head: probe is for one class an image; choose zeros or xavier")
        if self.mixes and self.global_batch % 2:
            raise ValueError(f"global_batch must be even where images are mixed in pairs, not {self.global_batch}")
        return self

    def uses_seed(self, data: Data) -> bool:
        """Always: the head's weights, the order and the augmentation are drawn."""
        return True

    def refusal(self, backbone: Backbone, data: Data) -> str | None:
        """A backbone with nothing to train, a dataset that cannot be learnt from, or fewer images than a batch."""
        dataset = data["dataset"][0]
        if not any(parameters for _, parameters in backbone.layers()):
            return f"backbone {backbone.card.name!r} has no parameters to fine-tune"
        if why := learning_refusal(dataset, (self.kind,)):
            return why
        parts = partition(dataset, 0)
        least = len(parts.train) + (len(parts.val) if self.trials == 1 else 0)
        if self.global_batch > least:
            return f"dataset {dataset.name!r}: global_batch is {self.global_batch}, but {least} images are trained on"
        return None

    def run(self, backbone: Backbone, data: Data, tools: Tools, seed: int) -> Iterator[Score | Outputs | Note]:
        """Choose on val, train, test."""
        if why := self.refusal(backbone, data):
            raise ValueError(why)
        dataset = data["dataset"][0]
        parts = partition(dataset, seed)
        yield from partition_notes(parts)
        training = _Training(self, backbone, dataset, tools, seed, parts)
        found = find(self, self.epochs, seed, training.on_val)
        yield from _search_notes(found)
        objective, fitted = training.on_both(found.choice)
        yield from _training_notes(fitted)
        yield from objective.report(training.outputs(fitted, parts.test), parts.test)


def _with(settings: FineTuning, choice: Choice, epochs: int) -> tuple[Recipe, Augmentation, dict[str, float]]:
    """The recipe, the augmentation and the rest with these values; a shorter training warms up for less."""
    values = {**asdict(settings), **choice, "epochs": epochs}
    values["warmup_epochs"] *= epochs / settings.epochs
    recipe, augmentation = (
        kind(**{each.name: values[each.name] for each in fields(kind)}) for kind in (Recipe, Augmentation)
    )
    assert isinstance(recipe, Recipe)
    assert isinstance(augmentation, Augmentation)
    return recipe, augmentation, {name: values[name] for name in ("label_smoothing", "drop_path")}


class _Training:
    """Trains one backbone on parts of one dataset with one choice of settings after another."""

    def __init__(
        self, settings: FineTuning, backbone: Backbone, dataset: Dataset, tools: Tools, seed: int, parts: Partition
    ) -> None:
        self.settings, self.backbone, self.dataset, self.parts = settings, backbone, dataset, parts
        self.execution, self.seed = tools.execution, seed
        self.probe: ProbeHead | None = None
        if settings.head == "probe":
            self.probe = ProbeHead(backbone, parts, len(dataset.classes), tools.extract)

    def on_val(self, choice: Choice, epochs: int, name: str) -> float:
        """The headline metric on val after training on train."""
        objective, fitted = self._fitted(choice, epochs, name, self.parts.train, self.parts.val)
        return objective.merit(self.outputs(fitted, self.parts.val), self.parts.val)

    def on_both(self, choice: Choice) -> tuple[Objective, Fitted]:
        """The training that is tested: on train and val."""
        return self._fitted(choice, self.settings.epochs, "final", join(self.parts.train, self.parts.val))

    def _fitted(
        self, choice: Choice, epochs: int, name: str, part: Part, val: Part | None = None
    ) -> tuple[Objective, Fitted]:
        """A training in a folder of its own; with ``val`` its headline is logged after every epoch."""
        recipe, augmentation, rest = _with(self.settings, choice, epochs)
        objective = objective_of(self.dataset, part, rest["label_smoothing"])
        trainee = TunedNetwork(self.backbone, objective, rest["drop_path"])
        self._start(trainee.network.head, with_val=val is None)
        facts = {
            **rest,
            **asdict(augmentation),
            "manifest": self.dataset.manifest_sha256,
            "weights": self.backbone.card.weights_sha256,
        }
        execution = self._in_folder(name)
        judge = None if val is None else Judge(objective, val, self.backbone, execution)
        logs = None if execution.folder is None else Logs(execution.folder / LOGS)
        stream = self._stream(objective, part, augmentation)
        try:
            fitted = fit(trainee, stream, recipe, execution, self.seed, judge, logs, facts)
        finally:
            if logs is not None:
                logs.close()
                draw_curves(logs.folder)
        if not trainee.has_drop_path:
            fitted.notes["drop_path"] = "the architecture has no place for it; none was applied"
        return objective, fitted

    def outputs(self, fitted: Fitted, part: Part) -> Any:
        """What the fitted network answers, a row an image of the part."""
        return Judge.outputs_of(fitted.model, part, self.backbone, self.execution)

    def _start(self, head: nn.Linear, with_val: bool) -> None:
        if self.probe is not None:
            weight, bias = self.probe.weights(with_val)
            with torch.no_grad():
                head.weight.copy_(weight)
                head.bias.copy_(bias)
        elif self.settings.head == "xavier":
            with torch.random.fork_rng():
                torch.manual_seed(self.seed)
                draw(head)

    def _stream(self, objective: Objective, part: Part, augmentation: Augmentation) -> ImagesStream:
        targets = objective.wanted(part).numpy()
        classes = len(self.dataset.classes) if self.dataset.target == "class" else None
        return ImagesStream(part.images, part.rows, targets, self.backbone.preprocess, augmentation, self.seed, classes)

    def _in_folder(self, name: str) -> Execution:
        folder = self.execution.folder
        return self.execution if folder is None else replace(self.execution, folder=folder / name)


class Judge:
    """The headline metric on a part, asked after every epoch; sent to other processes where several train."""

    def __init__(self, objective: Objective, part: Part, backbone: Backbone, execution: Execution) -> None:
        self.objective, self.part, self.backbone = objective, part, backbone
        self.execution = replace(execution, report=None)

    def __call__(self, model: Trainee) -> dict[str, float]:
        outputs = self.outputs_of(model, self.part, self.backbone, self.execution)
        return {f"val_{self.objective.headline}": self.objective.merit(outputs, self.part)}

    @staticmethod
    def outputs_of(model: Trainee, part: Part, backbone: Backbone, execution: Execution) -> Any:
        """Outputs of the network in the order of the part."""
        assert isinstance(model, TunedNetwork)
        return predictions(model.network, part.images, part.rows, backbone.preprocess, execution)


def _search_notes(found: Found) -> Iterator[Note]:
    if not found.tried:
        return
    yield Note("chosen", found.choice)
    yield Note("trials", [{"choice": each.choice, "epochs": each.epochs, "val": each.merit} for each in found.tried])
    yield Note("trial_epochs", sum(each.epochs for each in found.tried))
    yield Note("gain_on_val", found.gain)


def _training_notes(fitted: Fitted) -> Iterator[Note]:
    yield Note("steps", fitted.steps)
    yield Note("loss_by_epoch", [row["loss"] for row in fitted.epochs])
    for name, value in fitted.notes.items():
        yield Note(name, value)


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class FineTune(FineTuning):
    """One class an image: top1, top5, mean_per_class, nll, ece."""

    name: ClassVar[str] = "classification.finetune"
    headline: ClassVar[str] = "top1"
    kind: ClassVar[Target] = "class"


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class FineTuneLabels(FineTuning):
    """Several labels an image: AUC and average precision of each, and their means."""

    name: ClassVar[str] = "classification.finetune_multilabel"
    headline: ClassVar[str] = "mean_auc"
    kind: ClassVar[Target] = "multilabel"

    head: HeadStart = "zeros"


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class FineTuneOrder(FineTuning):
    """Ordered classes, by regression on the class number: quadratic kappa, balanced accuracy."""

    name: ClassVar[str] = "classification.finetune_ordinal"
    headline: ClassVar[str] = "quadratic_kappa"
    kind: ClassVar[Target] = "ordinal"

    head: HeadStart = "zeros"


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class FineTuneValue(FineTuning):
    """A number an image, by regression: concordance, mean absolute error."""

    name: ClassVar[str] = "classification.finetune_value"
    headline: ClassVar[str] = "concordance"
    kind: ClassVar[Target] = "value"

    head: HeadStart = "zeros"


TASKS = {
    "classification.finetune": FineTune,
    "classification.finetune_multilabel": FineTuneLabels,
    "classification.finetune_ordinal": FineTuneOrder,
    "classification.finetune_value": FineTuneValue,
}
