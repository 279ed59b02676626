"""Classification by prompts alone: the nearest class name, for backbones whose images and text share a space."""

from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar, Literal

import numpy as np
from jaxtyping import Float, Float32
from pydantic import ConfigDict, Field, field_validator
from pydantic.dataclasses import dataclass

from backbones.base import Backbone, TextEncoder
from backbones.feature_cache import digest
from tasks.base import Data, Note, Outputs, Score, Task, Tools
from tasks.classification.class_names import readable_names, shared_names
from tasks.classification.prompts import check_templates, filled, templates_of
from tasks.classification.report import report
from tasks.datasets.base import Dataset
from tasks.datasets.partition import evaluation_part
from tasks.features import collapse_notes, features_of, normalised

Words = Annotated[str, Field(pattern=r"\S")]


@dataclass(frozen=True, config=ConfigDict(extra="forbid", coerce_numbers_to_str=True))
class ZeroShot(Task):
    """top1, top5, mean_per_class, nll and ece of choosing the class whose prompts are nearest (cosine) to the image.

    A class is the mean of its prompts' vectors, each scaled to length one, scaled to length one again: CLIP's prompt
    ensemble (Radford et al. 2021, section 3.1.4). Its logit is the cosine times the scale the model has learnt. For a
    model of the sigmoid loss (SigLIP), whose bias is the same for all classes, their softmax is the probability of each
    class given that exactly one of them is right.

    ``templates``: a set by name (single, clip7, clip80, name, and hints of what is meant: aircraft, flower, food,
    number, pet, satellite, texture), or a list of your own with ``{}`` for the name. Classes are called by their own
    names made readable; ``class_names`` ({class: name}, or a YAML file of that) overrides any.
    """

    name: ClassVar[str] = "classification.zero_shot"
    protocol_version: ClassVar[int] = 1
    headline: ClassVar[str] = "top1"
    roles: ClassVar[Mapping[str, Literal["one", "many"]]] = {"dataset": "one"}
    files: ClassVar[tuple[str, ...]] = ("class_names",)
    texts: ClassVar[bool] = True

    templates: str | tuple[str, ...] = "single"
    class_names: dict[str, Words] = Field(default_factory=dict)

    @field_validator("templates")
    @classmethod
    def _have_a_place(cls, templates: str | tuple[str, ...]) -> str | tuple[str, ...]:
        check_templates(templates)
        return templates

    def uses_seed(self, data: Data) -> bool:
        """Never: nothing is learnt."""
        return False

    def refusal(self, backbone: Backbone, data: Data) -> str | None:
        """A backbone without a text tower, or a dataset whose classes have no names to put into a prompt."""
        dataset = data["dataset"][0]
        if not isinstance(backbone, TextEncoder):
            return f"backbone {backbone.card.name!r} has no text tower (only vision-language backbones have)"
        try:
            part = evaluation_part(dataset)
            self.prompts(dataset)
        except (ValueError, ImportError) as error:
            return str(error)
        if part.labels.min() < 0 or part.labels.max() >= len(dataset.classes):
            return (
                f"dataset {dataset.name!r}: labels run {part.labels.min()}..{part.labels.max()}, "
                f"but its {len(dataset.classes)} classes are 0..{len(dataset.classes) - 1}"
            )
        if len(dataset.classes) < 2:
            return (
                f"dataset {dataset.name!r} has one class only ({dataset.classes[0]!r}); there is nothing to tell apart"
            )
        return None

    def run(self, backbone: Backbone, data: Data, tools: Tools, seed: int) -> Iterator[Score | Outputs | Note]:
        """Embed the prompts and the images, and compare."""
        dataset = data["dataset"][0]
        why = self.refusal(backbone, data)
        if why or not isinstance(backbone, TextEncoder):
            raise ValueError(why)
        part = evaluation_part(dataset)
        yield from self._notes(dataset)
        yield Note("logit_scale", backbone.logit_scale)
        classes = ensembles(tools.embed_text(backbone, self.prompts(dataset)), len(dataset.classes))
        images = features_of(backbone, part, tools.extract)
        if images.shape[1] != classes.shape[1]:
            raise ValueError(
                f"{backbone.card.name} embeds images in {images.shape[1]} dimensions and text in {classes.shape[1]}; "
                "they must share one space"
            )
        yield from collapse_notes(images, "image")
        yield from collapse_notes(classes, "text")
        yield from report(similarities(images, classes, backbone.logit_scale), part.labels, part.names)

    def prompts(self, dataset: Dataset) -> list[str]:
        """Every prompt, class by class. Raises ``ValueError`` or ``ImportError`` where names or templates lack."""
        return filled(templates_of(self.templates), readable_names(dataset, self.class_names))

    def _notes(self, dataset: Dataset) -> Iterator[Note]:
        names = readable_names(dataset, self.class_names)
        yield Note("templates", list(templates_of(self.templates)))
        yield Note("class_names", dict(zip(dataset.classes, names, strict=True)))
        yield Note("prompts_sha256", digest(self.prompts(dataset)))
        if alike := list(shared_names(dataset.classes, names)):
            yield Note("shared_names", f"no prompt tells these classes apart: {'; '.join(alike)}", True)


def similarities(
    images: Float[np.ndarray, "n dim"], classes: Float[np.ndarray, "classes dim"], scale: float
) -> Float32[np.ndarray, "n classes"]:
    """``scale`` times the cosine of each image with each class; ``classes`` are of length one."""
    return np.asarray(np.float32(scale) * normalised(images) @ classes.T)


def ensembles(vectors: Float[np.ndarray, "prompts dim"], classes: int) -> Float32[np.ndarray, "classes dim"]:
    """One vector of length one a class, from as many prompts for each class, class by class.

    >>> ensembles(np.array([[2.0, 0.0], [0.0, 3.0], [5.0, 0.0], [1.0, 0.0]]), 2).round(3).tolist()
    [[0.7070000171661377, 0.7070000171661377], [1.0, 0.0]]
    """
    each = vectors.reshape(classes, -1, vectors.shape[1])
    # A class at a time: of ImageNet's 80,000 prompts a scaled copy would take hundreds of megabytes.
    return normalised(np.stack([normalised(prompts).mean(0) for prompts in each]))


TASKS = {"classification.zero_shot": ZeroShot}
