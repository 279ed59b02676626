"""Retrieval between images and the texts that describe them, both ways."""

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Int64
from pydantic import ConfigDict, Field, field_validator
from pydantic.dataclasses import dataclass

from backbones.base import Backbone, TextEncoder
from tasks.base import Data, Note, Outputs, Score, Task, Tools
from tasks.classification.prompts import check_templates, filled
from tasks.datasets.base import Dataset
from tasks.datasets.partition import Part, evaluated_on, evaluation_part
from tasks.features import collapse_notes, features_of, normalised
from tasks.retrieval.ranking import Blocks, first_place, hit
from tasks.retrieval.search import rankings

CUTOFFS = (1, 5, 10)
TEXT_TO_IMAGE, IMAGE_TO_TEXT = "text_to_image", "image_to_text"


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class ImageText(Task):
    """Whether images find their captions and captions their image, by cosine in the space that both towers share.

    The images are those of the evaluation part that have a caption, each with the first ``captions`` of its captions.
    All of them are the gallery: nothing is asked in folds. With k of 1, 5 and 10:

    - text_to_image_recall@k: whether a caption has its one image among the first k;
    - image_to_text_recall@k: whether an image has any of its captions among the first k (Karpathy and Fei-Fei 2015);
    - median_rank, a score of either direction: the median rank, from 1, of the first right answer;
    - mean_recall: the mean of the six recalls.

    Equal similarities (to 1e-6) are taken in every order and averaged, so that a constant encoder gets chance.
    ``template`` is what a caption is put into, at its ``{}``; CLIP's authors wrote ``a photo of {}`` (Radford et al.
    2021).
    """

    name: ClassVar[str] = "retrieval.image_text"
    protocol_version: ClassVar[int] = 1
    headline: ClassVar[str] = f"{TEXT_TO_IMAGE}_recall@1"
    roles: ClassVar[Mapping[str, Literal["one", "many"]]] = {"dataset": "one"}
    texts: ClassVar[bool] = True

    captions: int = Field(default=5, ge=1)
    template: str = "{}"

    @field_validator("template")
    @classmethod
    def _has_a_place(cls, template: str) -> str:
        check_templates((template,))
        return template

    def uses_seed(self, data: Data) -> bool:
        """Never: nothing is drawn."""
        return False

    def refusal(self, backbone: Backbone, data: Data) -> str | None:
        """A backbone without a text tower, or a dataset without captions, with one that is empty, or with one image."""
        dataset = data["dataset"][0]
        if not isinstance(backbone, TextEncoder):
            return f"backbone {backbone.card.name!r} has no text tower (only vision-language backbones have)"
        try:
            part, texts, described = self._pairs(dataset)
        except ValueError as error:
            return str(error)
        if blank := [part.names[row] for text, row in zip(texts, described, strict=True) if not text.strip()]:
            return (
                f"dataset {dataset.name!r}: {len(blank)} captions are empty (first: one of {blank[0]!r}); "
                "remove them from the file that lists them"
            )
        if len(part) < 2:
            return f"dataset {dataset.name!r} has {len(part)} images with a caption; it takes two to tell apart"
        return None

    def run(self, backbone: Backbone, data: Data, tools: Tools, seed: int) -> Iterator[Score | Outputs | Note]:
        """Embed both sides and let each rank the other."""
        dataset = data["dataset"][0]
        if why := self.refusal(backbone, data):
            raise ValueError(why)
        part, texts, described = self._pairs(dataset)
        yield Note("test_part", evaluated_on(part))
        yield Note("captions", f"{len(texts)} captions of {len(part)} images")
        if mute := len(dataset.splits[part.split]) - len(part):
            yield Note("images_without_caption", f"{mute} of {mute + len(part)} images are left out", True)
        images = features_of(backbone, part, tools.extract)
        vectors = tools.embed_text(backbone, filled((self.template,), texts))
        if images.shape[1] != vectors.shape[1]:
            raise ValueError(
                f"{backbone.card.name} embeds images in {images.shape[1]} dimensions and text in {vectors.shape[1]}; "
                "they must share one space"
            )
        yield from collapse_notes(images, "image")
        yield from collapse_notes(vectors, "text")
        seen, told, own = normalised(images), normalised(vectors), np.arange(len(part))
        named = _named(part, described)
        by_text = list(_report(rankings(told, described, seen, own), TEXT_TO_IMAGE, named))
        by_image = list(_report(rankings(seen, own, told, described), IMAGE_TO_TEXT, part.names))
        yield from by_text
        yield from by_image
        recalls = [each.value for each in (*by_text, *by_image) if isinstance(each, Score) and "recall" in each.metric]
        yield Score("mean_recall", float(np.mean(recalls)))

    def _pairs(self, dataset: Dataset) -> tuple[Part, list[str], Int64[np.ndarray, " texts"]]:
        """The images with a caption, all captions that are used, and for each of them the row of its image in the part.

        Raises ``ValueError`` where no image has a caption.
        """
        part = evaluation_part(dataset)
        known = dataset.splits[part.split].captions
        kept = [row for row in part.rows.tolist() if known is not None and known[row]]
        if known is None or not kept:
            raise ValueError(f"dataset {dataset.name!r}: no image of its {part.split} split has captions")
        rows = np.asarray(kept, dtype=np.int64)
        used = [known[row][: self.captions] for row in kept]
        described = np.repeat(np.arange(len(used)), [len(captions) for captions in used])
        pictured = Part(part.split, part.images, rows, dataset.splits[part.split].labels[rows])
        return pictured, [caption for captions in used for caption in captions], described


def _named(part: Part, described: Int64[np.ndarray, " texts"]) -> list[str]:
    """A name for each caption: its image's, and which of its captions it is, from 0.

    Captions of an image follow one another, so that the place of the first one is where the image first occurs.
    """
    firsts = np.searchsorted(described, described)
    return [
        f"{part.names[row]}#{place - first}" for place, (row, first) in enumerate(zip(described, firsts, strict=True))
    ]


def _report(found: Iterator[Blocks | None], direction: str, names: Sequence[str]) -> Iterator[Score | Outputs]:
    kept = [ranking for ranking in found if ranking is not None]
    ranks = np.array([first_place(ranking)[1] for ranking in kept])
    for k in CUTOFFS:
        column = np.array([hit(ranking, k) for ranking in kept])
        yield Score(f"{direction}_recall@{k}", float(column.mean()), column, direction)
    yield Score("median_rank", float(np.median(ranks)), None, direction, higher_is_better=False, unit="rank")
    yield Outputs({"item": np.asarray(names, dtype=object), "first_rank": ranks}, direction)


TASKS = {"retrieval.image_text": ImageText}
