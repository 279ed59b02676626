"""What the tasks that train a detector share: the settings, what they refuse, and the training itself."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from backbones.base import Backbone
from backbones.plugins import unknown
from backbones.training.order import steps_an_epoch
from backbones.training.recipe import Recipe
from tasks.base import Data, Note, Task, Tools
from tasks.datasets.base import Dataset
from tasks.datasets.partition import Part, Partition, partition
from tasks.datasets.targets import target_refusal
from tasks.detection.catalogue import DETECTORS, finds_masks
from tasks.detection.chosen import Chosen
from tasks.detection.detection_presets import PRESETS, Pyramid
from tasks.detection.head_settings import HeadSettings
from tasks.detection.jitter import Jitter
from tasks.presets import Presets
from tasks.race import Choice
from tasks.search import Search, find
from tasks.training_notes import search_notes, training_notes
from tasks.trunk import BatchNorm, Train, Trunk, maps_refusal
from tasks.work import Work, tried

if TYPE_CHECKING:
    from tasks.detection.detector_training import Trained

DENOISED = 64
"""The coarsest stride of a diffusion model, whose latents are an eighth of the image already."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Detecting(Presets, Search, Recipe, HeadSettings, Jitter, Task):
    """A detector over a backbone, trained on train and val; nothing is chosen by what is tested.

    The defaults, ``preset: fair``, are one recipe for every family: large-scale jitter, the same heads, 36 epochs
    in steps, a learning rate chosen on val from three with the same budget for all. ``light`` takes a third of the
    epochs at half the size. ``bob2023`` is the study's, three recipes by the kind of pyramid: ``by_pyramid`` holds
    settings that take the place of the others for backbones of that kind. ``train: frozen`` trains pyramid and
    heads alone, on the trunk as it is in evaluation. ``warmup_iterations``, where given, are steps and take the
    place of ``warmup_epochs``, up to the length of the training. With ``trials`` above 1 settings are chosen with
    train alone; whatever is chosen is then trained on train and val. ``window`` has a plain ViT attend in windows
    of that many patches a side, but for four of its blocks, as at high resolution (14 in ViTDet). A schedule for
    fewer epochs has its milestones and its warm-up earlier by as much.
    """

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = PRESETS

    detector: str = "cascade-mask-rcnn"
    train: Train = "end-to-end"
    epochs: int = Field(default=36, ge=1)
    global_batch: int = Field(default=16, ge=1)
    learning_rate: float = Field(default=1e-4, gt=0)
    schedule: Literal["cosine", "cosine_by_epoch", "steps"] = "steps"
    milestones: tuple[float, ...] = (27, 33)
    warmup_epochs: float = Field(default=1.0, ge=0)
    warmup_iterations: int | None = Field(default=None, ge=0)
    minimum_learning_rate: float = Field(default=0.0, ge=0)
    drop_path: float = Field(default=0.0, ge=0, lt=1)
    batch_norm: BatchNorm = "frozen"
    window: int | None = Field(default=None, ge=1)
    trials: int = Field(default=3, ge=1, le=256)
    space: Mapping[str, tuple[float, ...]] = Field(default_factory=lambda: {"learning_rate": (5e-5, 2e-4)})
    by_pyramid: Mapping[Pyramid, Mapping[str, Any]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _every_choice_is_a_recipe(self) -> "Detecting":
        if self.detector not in DETECTORS.found:
            raise unknown("detector", self.detector, DETECTORS.found)
        numbers = [each.name for each in fields(Recipe) if each.name not in ("epochs", "milestones")] + ["drop_path"]
        for name in self.space:
            if name not in numbers:
                raise unknown("setting in space", name, numbers)
        known = [each.name for each in fields(self) if each.name != "by_pyramid"]
        for kind, values in self.by_pyramid.items():
            for name in values:
                if name not in known:
                    raise unknown(f"setting of {kind} in by_pyramid", name, known)
        for settings in (self, *(self._of(kind) for kind in self.by_pyramid)):
            for choice in [{}, *({name: value} for name, values in settings.space.items() for value in values)]:
                settings.chosen(choice, settings.epochs, settings.global_batch)
        return self

    def _of(self, kind: Pyramid) -> "Detecting":
        """The settings for backbones with this kind of pyramid."""
        values = self.by_pyramid.get(kind, {})
        return replace(self, by_pyramid={}, **values) if values else self

    def chosen(self, choice: Choice, epochs: int, images: int) -> Chosen:
        """The settings with these values in place of their own, for a training on so many images."""
        values: dict[str, Any] = {**asdict(self), **choice, "epochs": epochs}
        shorter = epochs / self.epochs
        values["milestones"] = tuple(at * shorter for at in self.milestones)
        values["warmup_epochs"] *= shorter
        if self.warmup_iterations is not None:
            steps = steps_an_epoch(images, int(values["global_batch"]))
            values["warmup_epochs"] = min(self.warmup_iterations / steps, float(epochs))
        recipe, jitter, heads = (
            kind(**{each.name: values[each.name] for each in fields(kind)}) for kind in (Recipe, Jitter, HeadSettings)
        )
        assert isinstance(recipe, Recipe)
        assert isinstance(jitter, Jitter)
        assert isinstance(heads, HeadSettings)
        return Chosen(
            recipe, jitter, heads, self.detector, self.train, values["drop_path"], self.batch_norm, self.window
        )

    def work(self, data: Data) -> Work:
        """Trials on train, each tested on val; then train and val, the test, and all of what else is tested.

        Pyramid and heads cost about what a small backbone does, so that a frozen one is counted as trained.
        """
        parts = partition(data["dataset"][0], 0)
        train, val, (trials, epochs) = len(parts.train), len(parts.val), tried(self, self.epochs)
        abroad = sum(len(split) for each in data.get("test", ()) for split in each.splits.values())
        return Work(
            forward=trials * val + len(parts.test) + abroad,
            trained=epochs * train + self.epochs * (train + val),
            side=self.long_side,
            batch=self.global_batch,
        )

    def trained(
        self, backbone: Backbone, dataset: Dataset, parts: Partition, tools: Tools, seed: int
    ) -> "tuple[Trained, list[Note]]":
        """The detector that is tested, chosen on val and trained on train and val, and what the record says of it."""
        from tasks.detection.detector_training import DetectorTraining  # imports lightning-fabric; boards need it not

        kind = pyramid_kind(backbone)
        settings = self._of(kind)
        training = DetectorTraining(backbone, dataset, parts, tools.execution, seed)
        images = len(parts.train)
        found = find(
            settings,
            settings.epochs,
            seed,
            lambda choice, epochs, name: training.on_val(settings.chosen(choice, epochs, images), name),
            tools.race,
        )
        chosen = settings.chosen(found.choice, settings.epochs, images + len(parts.val))
        trained = training.on_both(chosen)
        own = [
            Note("pyramid", kind),
            Note("warmup_epochs", chosen.recipe.warmup_epochs),
            *([Note("settings_of_the_pyramid", self.by_pyramid[kind])] if settings is not self else []),
        ]
        return trained, [*own, *search_notes(found), *_data_notes(parts), *training_notes(trained.fitted)]

    def learning_refusal(self, backbone: Backbone, dataset: Dataset) -> str | None:
        """No dense features, other data, nothing to find, no outlines for masks, or fewer images than a batch."""
        if why := target_refusal(dataset, ("objects",)):
            return why
        try:
            parts = partition(dataset, 0)
        except ValueError as error:
            return str(error)
        for name, part in (("train", parts.train), ("val", parts.val), ("test", parts.test)):
            if why := part_refusal(part, len(dataset.classes), finds_masks(self.detector)):
                return f"dataset {dataset.name!r}: {name} {why}"
        try:
            settings = self._of(pyramid_kind(backbone))
        except NotImplementedError:  # it has no maps at all, as the next lines say
            settings = self
        if why := maps_refusal(backbone, settings.square):
            return f"{why}, and a detector reads nothing else"
        try:
            Trunk(backbone, "frozen", window=settings.window)
        except ValueError as error:
            return f"window: {error}"
        least = len(parts.train) + (len(parts.val) if settings.trials == 1 else 0)
        largest = int(max((settings.global_batch, *settings.space.get("global_batch", ()))))
        if largest > least:
            return f"dataset {dataset.name!r}: global_batch is {largest}, but {least} images are trained on"
        return None


def pyramid_kind(backbone: Backbone) -> Pyramid:
    """By the strides of its maps alone, so that a random twin has its original's recipe: only denoisers have 64."""
    strides = Trunk(backbone, "frozen").channels()
    if DENOISED in strides:
        return "diffusion"
    return "several-strides" if len(strides) > 1 else "one-stride"


def part_refusal(part: Part, classes: int, masks: bool) -> str | None:
    """Why nothing can be learnt or tested on a part; its sentence goes on from the part's name."""
    objects = part.objects or ()
    if not any((~one.crowd).any() for one in objects):
        return f"has no object in its {len(part)} images"
    for name, one in zip(part.names, objects, strict=True):
        if len(one) and not 0 <= one.labels.min() <= one.labels.max() < classes:
            outside = sorted({label for label in one.labels.tolist() if not 0 <= label < classes})
            return f"has classes {outside} in {name!r}, but there are {classes} (0..{classes - 1})"
    bare = next((name for name, one in zip(part.names, objects, strict=True) if one.outlines is None), None)
    if masks and bare is not None:
        return (
            f"has boxes without outlines (first: {bare!r}), and this detector learns masks; "
            "detector: cascade-rcnn learns boxes alone"
        )
    return None


def _data_notes(parts: Partition) -> Iterator[Note]:
    """What is learnt from, in numbers; boxes a reader dropped are among the dataset's warnings."""
    objects = [*(parts.train.objects or ()), *(parts.val.objects or ())]
    yield Note("images_trained", len(objects))
    yield Note("negatives_trained", sum(bool(one.crowd.all()) for one in objects))
    yield Note("objects_trained", sum(int((~one.crowd).sum()) for one in objects))
    yield Note("crowds_left_out", sum(int(one.crowd.sum()) for one in objects))
