"""Semantic segmentation: the class of every pixel, from a backbone's dense features, by one recipe for every family."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from backbones.base import Backbone
from backbones.plugins import unknown
from backbones.training.recipe import Recipe
from tasks.base import Data, Note, Outputs, Score, Task, Tools
from tasks.classification.parts import partition_notes
from tasks.datasets.base import Dataset
from tasks.datasets.label_maps import VOID
from tasks.datasets.partition import partition
from tasks.datasets.targets import target_refusal
from tasks.presets import Presets
from tasks.race import Choice
from tasks.search import Search, find
from tasks.segmentation.chosen import Chosen, Head
from tasks.segmentation.geometry import Geometry
from tasks.segmentation.segmentation_presets import PRESETS
from tasks.training_notes import search_notes, training_notes
from tasks.trunk import BatchNorm, Train, maps_refusal
from tasks.work import Work, tried


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Segmentation(Presets, Search, Recipe, Geometry, Task):
    """miou, mean_accuracy and pixel_accuracy, after training on train and val and testing once.

    ``head`` reads ``feature_maps``: ``linear``, a 1 x 1 convolution of all maps from stride 4 on, resized to the finest
    of them, or ``upernet``, a light UPerNet of ``head_channels``; before either, channels are standardised by fixed
    statistics of training images. With ``train: frozen`` the head alone is trained, over a backbone in evaluation mode
    (``layer_decay``, ``drop_path`` and ``batch_norm`` then change nothing). Images are tested whole, their shorter side
    made ``side``, and what the network says is resized to their own size before it is compared: the scores are of the
    pixels as they were annotated. Classes that the test's truth lacks are left out of the means, and noted. The
    intervals are a bootstrap's over images. The last epoch's weights are tested; nothing is chosen by the test part.
    """

    name: ClassVar[str] = "segmentation"
    protocol_version: ClassVar[int] = 1
    headline: ClassVar[str] = "miou"
    roles: ClassVar[Mapping[str, Literal["one", "many"]]] = {"dataset": "one"}
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = PRESETS

    head: Head = "linear"
    head_channels: int = Field(default=128, ge=32, multiple_of=32)
    train: Train = "frozen"
    epochs: int = Field(default=12, ge=1)
    global_batch: int = Field(default=16, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0)
    warmup_epochs: float = Field(default=1.0, ge=0)
    weight_decay: float = Field(default=1e-4, ge=0)
    drop_path: float = Field(default=0.0, ge=0, lt=1)
    batch_norm: BatchNorm = "frozen"
    trials: int = Field(default=4, ge=1, le=256)
    space: Mapping[str, tuple[float, ...]] = Field(default_factory=lambda: {"learning_rate": (3e-4, 3e-3, 1e-2)})

    @model_validator(mode="after")
    def _every_choice_is_a_recipe(self) -> "Segmentation":
        _with(self, {}, self.epochs)
        numbers = [each.name for each in fields(Recipe) if each.name != "epochs"] + ["flip", "drop_path"]
        for name, values in self.space.items():
            if name not in numbers:
                raise unknown("setting in space", name, numbers)
            for value in values:
                _with(self, {name: value}, self.epochs)
        return self

    def uses_seed(self, data: Data) -> bool:
        """Always: the head's weights, the order and the crops are drawn."""
        return True

    def refusal(self, backbone: Backbone, data: Data) -> str | None:
        """A backbone without dense features or with nothing to train, a dataset that cannot be learnt from."""
        dataset = data["dataset"][0]
        if self.train == "end-to-end" and not any(parameters for _, parameters in backbone.layers()):
            return f"backbone {backbone.card.name!r} has no parameters to train; set train: frozen"
        return self._data_refusal(dataset) or maps_refusal(backbone)

    def _data_refusal(self, dataset: Dataset) -> str | None:
        if why := target_refusal(dataset, ("pixels",)):
            return why
        if not 2 <= len(dataset.classes) <= VOID:
            return f"dataset {dataset.name!r} has {len(dataset.classes)} classes; pixels are told apart by 2 to {VOID}"
        try:
            parts = partition(dataset, 0)
        except ValueError as error:
            return str(error)
        least = len(parts.train) + (len(parts.val) if self.trials == 1 else 0)
        largest = int(max((self.global_batch, *self.space.get("global_batch", ()))))
        if largest > least:
            return f"dataset {dataset.name!r}: global_batch is {largest}, but {least} images are trained on"
        return None

    def work(self, data: Data) -> Work:
        """Trials on train, judged on val after every epoch and at the end; then train and val, and the test.

        Under a frozen backbone the head is so small that a step costs little more than the backbone's forward pass.
        """
        parts = partition(data["dataset"][0], 0)
        train, val, (trials, epochs) = len(parts.train), len(parts.val), tried(self, self.epochs)
        looked, learnt = (epochs + trials) * val + len(parts.test), epochs * train + self.epochs * (train + val)
        if self.train == "frozen":
            return Work(forward=looked + learnt, side=self.side)
        return Work(forward=looked, trained=learnt, side=self.side, batch=self.global_batch)

    def run(self, backbone: Backbone, data: Data, tools: Tools, seed: int) -> Iterator[Score | Outputs | Note]:
        """Choose on val, train, test."""
        from tasks.segmentation.report import report  # with the training it imports torch, which boards need not
        from tasks.segmentation.training import SegmentationTraining

        if why := self.refusal(backbone, data):
            raise ValueError(why)
        dataset = data["dataset"][0]
        parts = partition(dataset, seed)
        yield from partition_notes(parts)
        training = SegmentationTraining(backbone, dataset, parts, tools.execution, seed)
        found = find(
            self,
            self.epochs,
            seed,
            lambda choice, epochs, name: training.on_val(_with(self, choice, epochs), name),
            tools.race,
        )
        chosen = _with(self, found.choice, self.epochs)
        fitted = training.on_both(chosen)
        yield from search_notes(found)
        yield from training_notes(fitted)
        yield from report(training.counts(fitted, parts.test, chosen), dataset.classes, parts.test.names)


def _with(settings: Segmentation, choice: Choice, epochs: int) -> Chosen:
    """The settings with these values in place of their own; a shorter training warms up for less."""
    values = {**asdict(settings), **choice, "epochs": epochs}
    values["warmup_epochs"] *= epochs / settings.epochs
    recipe, geometry = (kind(**{each.name: values[each.name] for each in fields(kind)}) for kind in (Recipe, Geometry))
    assert isinstance(recipe, Recipe)
    assert isinstance(geometry, Geometry)
    named = (settings.head, settings.head_channels, settings.train, values["drop_path"], settings.batch_norm)
    return Chosen(recipe, geometry, *named)


TASKS = {"segmentation": Segmentation}
