"""Semi-supervised classification: a backbone learns from a few labels a class and many images without any."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict, Field, StrictFloat, StrictInt, field_validator, model_validator
from pydantic.dataclasses import dataclass
from torch import Tensor

from backbones.base import Backbone
from backbones.plugins import unknown
from backbones.training.recipe import Recipe
from tasks.base import Data, Extract, Note, Outputs, Score, Task, Tools
from tasks.classification.few_shot import few_probe, short_note
from tasks.classification.head_start import HeadStart, layer_of
from tasks.classification.linear import ProbeSettings
from tasks.classification.parts import learning_refusal, partition_notes
from tasks.classification.semi_supervised.catalogue import settings_class
from tasks.classification.semi_supervised.few_labels import FewLabels, few_labels
from tasks.classification.semi_supervised.method import MethodSettings
from tasks.classification.semi_supervised.presets import PRESETS
from tasks.datasets.partition import Part, partition
from tasks.features import features_of
from tasks.presets import Presets
from tasks.race import Choice
from tasks.search import Search, find
from tasks.training_notes import search_notes, training_notes
from tasks.trunk import BatchNorm
from tasks.work import Work, tried

ONE_SHOT_STRENGTH = 0.01
"""Of the probe the head starts from where no class has two labelled images: few-shot classification's default."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class SemiSupervised(Presets, Search, Recipe, Task):
    """mean_per_class (balanced accuracy), top1, nll, ece, kappa, and quadratic_kappa and mae of ordered classes.

    Of train, ``labels`` images a class (or such a share of it, below one) have labels, the same for every backbone and
    method; ``unlabelled`` images for each of them, drawn whatever their class (none given: all of train), have none,
    and their labels are never read. ``method`` says how both are learnt from, by ``settings`` of its own. A step is
    ``global_batch`` labelled images and the method's ``ratio`` of others for each, an epoch as many labelled images as
    there are images: so methods are compared at the same number of steps. The last epoch is tested; val and test are
    never learnt from, and with ``trials`` above 1 settings are chosen by val, which has all its labels (the record says
    how many chose). Where the dataset names groups, none is on two sides of a carved split.
    ``head`` starts at a ``probe`` of the frozen features of the labelled images, at ``zeros`` or drawn (``xavier``).
    """

    name: ClassVar[str] = "classification.semi_supervised"
    protocol_version: ClassVar[int] = 1
    headline: ClassVar[str] = "mean_per_class"
    roles: ClassVar[Mapping[str, Literal["one", "many"]]] = {"dataset": "one"}
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = PRESETS

    method: str = "fixmatch"
    settings: Mapping[str, Any] = Field(default_factory=dict, validate_default=True)
    labels: StrictInt | StrictFloat = 10
    unlabelled: float | None = Field(default=None, ge=0)
    epochs: int = Field(default=20, ge=1)
    global_batch: int = Field(default=32, ge=1)
    learning_rate: float = Field(default=3e-4, gt=0)
    warmup_epochs: float = Field(default=1.0, ge=0)
    layer_decay: float = Field(default=0.75, gt=0, le=1)
    head: HeadStart = "probe"
    batch_norm: BatchNorm = "frozen"

    @field_validator("settings")
    @classmethod
    def _all_settings_of_the_method(cls, given: Mapping[str, Any], info: Any) -> Mapping[str, Any]:
        """The method's defaults where nothing is given: they are part of the key as if written out."""
        if "method" not in info.data:
            return given
        made: Any = settings_class(info.data["method"])(**given)
        return asdict(made)

    @model_validator(mode="after")
    def _everything_fits(self) -> "SemiSupervised":
        whole = isinstance(self.labels, int) and self.labels >= 1
        if not whole and not 0 < self.labels < 1:
            raise ValueError(f"labels must be a whole number of images a class or a share below 1, not {self.labels}")
        numbers = [each.name for each in fields(Recipe) if each.name != "epochs"]
        for name, values in self.space.items():
            if name not in numbers:
                raise unknown("setting in space", name, numbers)
            for value in values:
                self.recipe({name: value}, self.epochs)
        self.recipe({}, self.epochs)
        return self

    def of_method(self) -> MethodSettings:
        """The method's settings."""
        return settings_class(self.method)(**self.settings)

    def non_defaults(self) -> dict[str, Any]:
        """As for every task, but of the method's settings those that are not its defaults."""
        said = super().non_defaults()
        if "settings" in said:
            usual = asdict(settings_class(self.method)())
            said["settings"] = {name: value for name, value in self.settings.items() if value != usual[name]}
        return {name: value for name, value in said.items() if name != "settings" or value}

    def recipe(self, choice: Choice, epochs: int) -> Recipe:
        """With these values in place of its own; a shorter training warms up for less.

        Raises ``ValueError`` for an odd batch where images are mixed in pairs.
        """
        values = {**{each.name: getattr(self, each.name) for each in fields(Recipe)}, **choice, "epochs": epochs}
        values["warmup_epochs"] *= epochs / self.epochs
        recipe = Recipe(**values)
        size = recipe.global_batch
        if self.of_method().wanted().pairs and size % 2:
            raise ValueError(f"{self.method} mixes images in pairs: global_batch must be even, not {size}")
        return recipe

    def uses_seed(self, data: Data) -> bool:
        """Always: it decides which images have labels."""
        return True

    def refusal(self, backbone: Backbone, data: Data) -> str | None:
        """A backbone with nothing to train, a dataset that cannot be learnt from, or fewer images than a batch."""
        dataset = data["dataset"][0]
        if not any(parameters for _, parameters in backbone.layers()):
            return f"backbone {backbone.card.name!r} has no parameters to fine-tune"
        if why := learning_refusal(dataset):
            return why
        least = len(self._few(partition(dataset, 0).train, 0).pool)
        largest = int(max((self.global_batch, *self.space.get("global_batch", ()))))
        if largest > least:
            return f"dataset {dataset.name!r}: global_batch is {largest}, but {least} images are trained on"
        return None

    def work(self, data: Data) -> Work:
        """An epoch shows as many labelled images as the pool has, and beside each the method's views of others."""
        parts = partition(data["dataset"][0], 0)
        few, (trials, epochs), wanted = self._few(parts.train, 0), tried(self, self.epochs), self.of_method().wanted()
        shown = 1 + wanted.ratio * len(wanted.unlabelled)
        start = len(few.labelled) if self.head == "probe" else 0
        return Work(
            forward=start + (epochs + trials) * len(parts.val) + len(parts.test),
            trained=(epochs + self.epochs) * len(few.pool) * shown,
            batch=self.global_batch * shown,
        )

    def run(self, backbone: Backbone, data: Data, tools: Tools, seed: int) -> Iterator[Score | Outputs | Note]:
        """Draw the labelled images, choose on val if asked, train, test."""
        from tasks.classification.semi_supervised.training import SemiTraining  # imports lightning-fabric

        if why := self.refusal(backbone, data):
            raise ValueError(why)
        dataset = data["dataset"][0]
        parts = partition(dataset, seed)
        few = self._few(parts.train, seed)
        yield from partition_notes(parts)
        yield from self._label_notes(few, parts.train, parts.val, dataset.classes)
        start = self._probe(backbone, few.labelled, len(dataset.classes), tools.extract, seed)
        training = SemiTraining(backbone, dataset, few, self.of_method(), self.batch_norm, start, tools.execution, seed)
        found = find(
            self,
            self.epochs,
            seed,
            lambda choice, epochs, name: training.on_val(self.recipe(choice, epochs), parts.val, name),
            tools.race,
        )
        fitted = training.fitted(self.recipe(found.choice, self.epochs), "final")
        yield from search_notes(found)
        yield from training_notes(fitted)
        yield from training.objective.report(training.outputs(fitted, parts.test), parts.test)

    def _few(self, train: Part, seed: int) -> FewLabels:
        return few_labels(train, self.labels, self.unlabelled, seed)

    def _label_notes(self, few: FewLabels, train: Part, val: Part, classes: tuple[str, ...]) -> Iterator[Note]:
        yield Note("images_with_labels", len(few.labelled))
        yield Note("images_in_pool", len(few.pool))
        if self.trials > 1:
            yield Note("labels_that_chose", len(val))
        yield from short_note(train.labels, self.labels, classes)

    def _probe(
        self, backbone: Backbone, labelled: Part, classes: int, extract: Extract, seed: int
    ) -> tuple[Tensor, Tensor] | Literal["zeros", "xavier"]:
        """What the head starts from."""
        if self.head != "probe":
            return self.head
        features = features_of(backbone, labelled, extract)
        settings = ProbeSettings(strengths=8)
        return layer_of(few_probe(settings, features, labelled.labels, classes, ONE_SHOT_STRENGTH, seed))


TASKS = {"classification.semi_supervised": SemiSupervised}
