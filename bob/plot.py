"""Every plot that the store has records for, as files."""

import hashlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from backbones.images import Images, decode
from backbones.plugins import Plugins
from results.board import comparable
from results.plots.base import Draw, Evidence, ImagesOf, Picture
from results.record import DamageError, Record
from results.store import Store
from tasks.catalogue import open_dataset, protocol_versions
from tasks.datasets.base import Dataset, OpenOptions
from tasks.datasets.partition import Part, evaluation_part, unlearnt_part, whole_part
from tasks.ood.shift import HOME

if TYPE_CHECKING:
    import pandas as pd

PLOTS = Plugins("plot", "results.plots", "PLOTS", "bob.plots")
DPI = 150
SIDE = 512
"""The longer side of an image that is shown, in pixels: of what is drawn widest there are 2.6 inches of 150 dots."""
RANKED = ("query", "gallery")


class PlotsError(ValueError):
    """Plots that failed, a line each."""

    def __init__(self, lines: Sequence[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = tuple(lines)


def draw_all(store: Store, output: Path, options: OpenOptions) -> Iterator[str]:
    """Draw them into ``output``, each file whole or absent; lines of what was written, and what there was nothing of.

    A plot that fails is told and the others are drawn; :class:`PlotsError` then names it at the end. Raises ``OSError``
    naming the file where one cannot be written.
    """
    records = store.records()
    versions = protocol_versions({record.cell.task for record in records})
    evidence = Evidence(comparable(records, versions), partial(_outputs, store), partial(_images, options))
    failed: list[str] = []
    for name in PLOTS.found:
        nothing = True
        for drawn in _drawn(name, evidence):
            nothing = False
            if isinstance(drawn, Picture):
                yield f"wrote {write(drawn, name, output)}"
            elif isinstance(drawn, Exception):
                failed.append(f"plot {name!r} failed ({type(drawn).__name__}: {drawn})")
            else:
                yield f"{name}: not drawn: {drawn}"
        if nothing:
            yield f"{name}: nothing in the store to draw"
    if failed:
        raise PlotsError(failed)


def _drawn(name: str, evidence: Evidence) -> Iterator[Picture | str | Exception]:
    """What a plot draws and, where it fails at that, the error as the last thing."""
    try:
        draw: Draw = PLOTS.load(name)
        yield from draw(evidence)
    except Exception as error:  # a plot may be anybody's, and the others are to be drawn all the same
        yield error


def write(picture: Picture, plot: str, output: Path) -> Path:
    """One picture as a PNG file; an older one of the same name is replaced at once."""
    output.mkdir(parents=True, exist_ok=True)
    path = output / f"{file_stem(plot, *picture.shows)}.png"
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        picture.figure.savefig(unfinished, dpi=DPI, format="png")
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
    return path


def file_stem(*words: str) -> str:
    """Names from anywhere as one that any file system takes; those that had to be changed are told apart by a hash.

    >>> file_stem("roc", "digits"), file_stem("roc", "../etc/passwd")
    ('roc--digits', 'roc--etc-passwd--a3016cc2')
    """
    plain = [re.sub(r"[^A-Za-z0-9._=,-]+", "-", word).strip("-.")[:50] for word in words]
    stem = "--".join(filter(None, plain))
    if tuple(plain) == words:
        return stem
    return f"{stem}--{hashlib.sha256(repr(words).encode()).hexdigest()[:8]}"


def _outputs(store: Store, record: Record) -> "pd.DataFrame | None":
    try:
        table: pd.DataFrame = store.outputs(record.key).to_pandas()
    except (FileNotFoundError, DamageError):
        return None
    return table


def _images(options: OpenOptions, record: Record) -> ImagesOf:
    """The images a record is of. Raises ``ValueError`` where those are not what was computed on."""
    named = record.cell.datasets
    if len(named.get("dataset", [])) != 1:
        raise ValueError(f"its images are of {sum(map(len, named.values()))} datasets, not of one")
    datasets = {
        role: [_unchanged(name, record, options) for name in names]
        for role, names in named.items()
        if role in ("dataset", "test")
    }
    parts: dict[str, tuple[Images, dict[str, int]]] = {}

    def pixels(role: str, item: str) -> NDArray[np.uint8]:
        if role not in parts:
            part = _part(datasets, role)
            parts[role] = part.images, dict(zip(part.names, part.rows.tolist(), strict=True))
        images, places = parts[role]
        image = Image.fromarray(decode(images.read(places[item])).permute(1, 2, 0).numpy())
        image.thumbnail((SIDE, SIDE))
        return np.asarray(image)

    return pixels


def _unchanged(name: str, record: Record, options: OpenOptions) -> Dataset:
    dataset = open_dataset(name, options)
    if record.identity.manifests.get(dataset.name) != dataset.manifest_sha256:
        raise ValueError(f"dataset {name!r} has other contents now than when the record was made; run it again")
    return dataset


def _part(datasets: Mapping[str, Sequence[Dataset]], role: str) -> Part:
    """Queries, gallery, or what the record calls that split: ``test``, or of several sets each by its own name."""
    (dataset,) = datasets["dataset"]
    if role in RANKED:
        return _ranked(dataset, role)
    if role in ("test", HOME):
        return unlearnt_part(dataset)
    for test in datasets.get("test", ()):
        if role == test.name:
            return evaluation_part(test)
        split = role.removeprefix(f"{test.name}/")
        if split != role and split in test.splits:
            return whole_part(split, test.splits[split])
    raise KeyError(role)


def _ranked(dataset: Dataset, role: str) -> Part:
    """Of a dataset without queries and gallery both are what it is asked on, leaving one out."""
    return whole_part(role, dataset.splits[role]) if set(RANKED) <= set(dataset.splits) else evaluation_part(dataset)
