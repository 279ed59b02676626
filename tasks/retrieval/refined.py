"""What retrieval may do beyond comparing features once, off by default: scales, whitening, asking again, re-ranking."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass as plain_dataclass
from typing import Annotated

import numpy as np
from pydantic import ConfigDict, Field, field_validator
from pydantic.dataclasses import dataclass

from backbones.base import Backbone
from tasks.base import Data, Extract, Note
from tasks.datasets.base import Dataset
from tasks.datasets.partition import Part, whole_part
from tasks.features import collapse_notes, normalised, rows_of
from tasks.readouts import Reading
from tasks.retrieval.expansion import expanded
from tasks.retrieval.lines import Line, similarities
from tasks.retrieval.multi_scale import check_scale, scaled
from tasks.retrieval.reciprocal import reciprocal_lines
from tasks.retrieval.search import Matrix
from tasks.retrieval.whitening import fit_whitening
from tasks.rows import Rows, blocks_of
from tasks.unit_rows import UnitRows

Sides = tuple[Part, Part]
"""Queries and gallery; the same object twice where each image is to find the others."""


@plain_dataclass(frozen=True)
class Compared:
    """Rows of length one (or zero) of queries and gallery, the same matrix where each image is to find the others.

    Plain features stay on disk, to be read in blocks; what any option made of them is in memory.
    """

    queries: Matrix
    gallery: Matrix
    leave_one_out: bool


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Refined(Reading):
    """Options of retrieval, in the order they work in; each is described where it is computed.

    - ``scales``: the input's sides times each; the features of length one are averaged (``multi_scale``);
    - ``whiten``: so many directions of a PCA-whitening, learnt on the ``whitening`` datasets or, where there are none,
      on the dataset's own train split, and never on what is compared (``whitening``);
    - ``expand``: a query is mixed with so many of its nearest, weighed by their cosine to the power ``expand_alpha``
      (``expansion``);
    - ``rerank``: k1 of k-reciprocal re-ranking, with ``rerank_k2`` and the weight of the first distance,
      ``rerank_weight`` (``reciprocal``).
    """

    scales: tuple[Annotated[float, Field(gt=0, le=4)], ...] = Field(default=(1.0,), min_length=1)
    whiten: int = Field(default=0, ge=0)
    expand: int = Field(default=0, ge=0)
    expand_alpha: float = Field(default=3.0, ge=0)
    rerank: int = Field(default=0, ge=0)
    rerank_k2: int = Field(default=6, ge=1)
    rerank_weight: float = Field(default=0.3, ge=0, le=1)

    @field_validator("scales")
    @classmethod
    def _each_once(cls, scales: tuple[float, ...]) -> tuple[float, ...]:
        if len(set(scales)) < len(scales):
            raise ValueError(f"scales hold the same one twice: {', '.join(map(str, scales))}")
        return scales

    def unrefinable(self, backbone: Backbone, data: Data, sides: Sides) -> str | None:
        """Why the readout or the whitening cannot be had; None where they can."""
        if why := self.unreadable(backbone):
            return why
        sources, dataset = data.get("whitening", ()), data["dataset"][0]
        if self.expand and self.rerank and sides[0] is sides[1]:
            return "expand and rerank do not go together where each image is to find the others: a mixed query is none"
        if not self.whiten:
            return "whitening datasets are given, but whiten says to keep 0 directions" if sources else None
        try:
            parts = _learnt_on(dataset, sources)
        except ValueError as error:
            return str(error)
        compared = {dataset.splits[side.split].sha256[row] for side in sides for row in side.rows.tolist()}
        if shared := sum(sha256 in compared for _, hashes in parts for sha256 in hashes):
            return f"{shared} images to learn whitening from are also among the queries or the gallery"
        count = sum(len(part) for part, _ in parts)
        return None if self.whiten < count else f"whiten is {self.whiten}; from {count} images at most {count - 1}"

    def compared(
        self, backbone: Backbone, data: Data, sides: Sides, extract: Extract
    ) -> tuple[Compared, Iterable[Note]]:
        """Features of both sides, refined, and what the record says of them."""
        queries, gallery = sides
        alone = queries is gallery
        for scale in self.scales:
            if scale != 1:
                check_scale(scaled(backbone, scale), self.readout)
        theirs = self._features(backbone, gallery, extract)
        ours = theirs if alone else self._features(backbone, queries, extract)
        notes = [*_input_notes(gallery, theirs, "gallery"), *([] if alone else _input_notes(queries, ours, "query"))]
        if not (self.whiten or self.expand or self.rerank):
            return Compared(ours, theirs, alone), notes
        far = theirs[:]
        near = far if alone else ours[:]
        if self.whiten:
            parts = _learnt_on(data["dataset"][0], data.get("whitening", ()))
            learnt = [self._features(backbone, part, extract)[:] for part, _ in parts]
            whiten = fit_whitening(np.concatenate(learnt), self.whiten)
            notes.append(Note("whitened_dim", whiten.directions.shape[1]))
            far = whiten(far)
            near = far if alone else whiten(near)
        if self.expand:
            near = expanded(near, far, self.expand, self.expand_alpha, alone)
        return Compared(near, far, alone), notes

    def lines(self, compared: Compared) -> Iterable[Line]:
        """How near the gallery is to each query, in order."""
        if not self.rerank:
            return similarities(compared.queries, compared.gallery)
        settings = (self.rerank, self.rerank_k2, self.rerank_weight)
        return reciprocal_lines(compared.queries[:], compared.gallery[:], *settings, compared.leave_one_out)

    def _features(self, backbone: Backbone, part: Part, extract: Extract) -> Matrix:
        read = self.reading(extract)
        first, *others = (UnitRows(rows_of(scaled(backbone, scale), part, read)) for scale in self.scales)
        return normalised(sum((other[:] for other in others), start=first[:])) if others else first


def _input_notes(part: Part, features: Matrix, where: str) -> Iterator[Note]:
    """Warnings of features that say nothing, and of images that a reader of the outputs could not tell apart."""
    rows = features.rows if isinstance(features, UnitRows) else features
    if where == "gallery":
        yield from collapse_notes(rows, where)
    blocks = rows.blocks() if isinstance(rows, Rows) else blocks_of(rows)
    if zeros := sum(int((~block.any(1)).sum()) for block in blocks):
        said = f"{zeros} of {len(part)} {where} images have features of zeros, equally near to everything"
        yield Note(f"zero_features:{where}", said, True)
    if repeated := len(part) - len(set(part.names)):
        yield Note(f"repeated_names:{where}", f"{repeated} of {len(part)} {where} images have another's name", True)


def _learnt_on(dataset: Dataset, sources: Sequence[Dataset]) -> list[tuple[Part, tuple[str, ...]]]:
    """The train splits whitening is learnt on, with their content hashes. Raises ``ValueError`` where one has none."""
    parts = []
    for source in sources or [dataset]:
        name = next((split for split in ("train", "all") if len(source.splits.get(split, ()))), None)
        if name is None:
            raise ValueError(
                f"dataset {source.name!r} has no train split to learn whitening from; "
                f"name a dataset that has, as whitening"
            )
        split = source.splits[name]
        parts.append((whole_part(name, split), split.sha256))
    return parts
