"""revisited:PATH[#SET] - revisited Oxford or Paris: queries cut to their box, answers easy and hard, and junk.

The folder or zip holds ``gnd_SET.pkl`` as it is given out and ``jpg/`` beside it, both perhaps in a folder of their
own. For instance ``revisited:roxford5k``, or ``revisited:landmarks#rparis6k`` where there are several.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tasks.datasets.assembly import Found, assemble
from tasks.datasets.base import Dataset, OpenOptions
from tasks.datasets.cropped import Box, CroppedFiles
from tasks.datasets.manifest import Item
from tasks.datasets.plain_pickle import PickledArray, read_plain_pickle
from tasks.datasets.references import open_source, parse
from tasks.datasets.relevance import GRADES, Judged
from tasks.datasets.sources import Source, some

KEYS = ("imlist", "qimlist", "gnd")


@dataclass(frozen=True)
class Truth:
    """Names without ``.jpg`` of gallery and queries; of each query where it is cut, and its answers."""

    gallery: Sequence[str]
    queries: Sequence[str]
    boxes: Sequence[Box]
    judged: Sequence[Judged]


def read(reference: str, options: OpenOptions) -> Dataset:
    """Open the ground truth and the images it lists: ``imlist`` is the gallery, ``qimlist`` are the queries.

    Queries are cut to ``bbx``, its corners rounded to whole pixels, and encoded again without loss. The pickle is read
    as plain data: what else there is in it is refused, not run. Raises ``ValueError`` in one line for what is wrong.
    """
    parts = parse(reference, "revisited", ())
    source = open_source(parts.path, options.places)
    try:
        file = _ground_truth(source, parts.part)
        truth = _truth(read_plain_pickle(source.read(file), file.rpartition("/")[2]))
        items, crops = _items(truth, file[: file.rfind("/") + 1], set(source.files()))
    except ValueError as error:
        raise ValueError(f"dataset 'revisited:{reference}': {error}") from error
    judged = dict(zip([f"{name}.jpg" for name in truth.queries], truth.judged, strict=True))
    cut = CroppedFiles(source, crops)
    found = Found(f"revisited:{reference}", cut, items, (), parts.path, target="relevance", judged=judged)
    return assemble(found, options)


def _ground_truth(source: Source, part: str) -> str:
    """The file ``gnd_PART.pkl``, or the only one of that kind, at the top or in a folder of its own."""
    near = [file for file in source.files() if file.count("/") < 2]
    there = {file: name for file in near if (name := file.rpartition("/")[2])[:4] == "gnd_" and name[-4:] == ".pkl"}
    wanted = [file for file, name in there.items() if part in ("", name[4:-4])]
    if len(wanted) != 1:
        raise ValueError(
            f"needs one gnd_{part or 'SET'}.pkl; there are: {some(list(there)) or 'none'}"
            + ("; name one after a #" if len(wanted) > 1 else "")
        )
    return wanted[0]


def _truth(content: Any) -> Truth:
    if not isinstance(content, dict) or any(not isinstance(content.get(key), list | tuple) for key in KEYS):
        raise ValueError(f"its ground truth is no mapping with lists {', '.join(KEYS)}")
    gallery, queries = (_names(content[key], key) for key in ("imlist", "qimlist"))
    if len(content["gnd"]) != len(queries):
        raise ValueError(f"gnd has {len(content['gnd'])} entries, and qimlist has {len(queries)}")
    boxes, judged = [], []
    for name, entry in zip(queries, content["gnd"], strict=True):
        if not isinstance(entry, dict) or {"bbx", *GRADES} - set(entry):
            raise ValueError(f"gnd of query {name!r} is no mapping with bbx, {', '.join(GRADES)}")
        boxes.append(_box(entry["bbx"], name))
        rows = {grade: _rows(entry[grade], f"{grade} of query {name!r}", len(gallery)) for grade in GRADES}
        judged.append(Judged(**{grade: [f"{gallery[row]}.jpg" for row in rows[grade]] for grade in GRADES}))
    return Truth(gallery, queries, boxes, judged)


def _names(listed: Sequence[Any], key: str) -> list[str]:
    if not listed or not all(isinstance(name, str) and name for name in listed):
        raise ValueError(f"{key} is empty, or holds something else than names")
    if len(set(listed)) < len(listed):
        raise ValueError(f"{key} names {some(sorted({name for name in listed if listed.count(name) > 1}))} twice")
    return list(listed)


def _numbers(listed: Any, what: str) -> np.ndarray:
    values = listed.values if isinstance(listed, PickledArray) else listed
    if isinstance(values, list | tuple) and all(isinstance(each, int | float) for each in values):
        values = np.asarray(values)
    if not isinstance(values, np.ndarray) or values.ndim != 1 or values.dtype.kind not in "iuf":
        raise ValueError(f"{what} is no list of numbers")
    return values


def _box(listed: Any, query: str) -> Box:
    corners = _numbers(listed, f"bbx of query {query!r}").astype(float)
    if len(corners) != 4 or not (np.abs(corners) < 1e6).all():
        raise ValueError(f"bbx of query {query!r} is not left, top, right, bottom in pixels: {corners.tolist()[:5]}")
    left, top, right, bottom = map(round, corners.tolist())
    return left, top, right, bottom


def _rows(listed: Any, what: str, gallery: int) -> list[int]:
    rows = _numbers(listed, what)
    if not ((rows >= 0) & (rows < gallery) & (rows == np.floor(rows))).all():
        raise ValueError(f"{what} holds rows other than 0..{gallery - 1} of imlist")
    return [int(row) for row in rows.tolist()]


def _items(truth: Truth, start: str, files: set[str]) -> tuple[list[Item], dict[str, tuple[str, Box]]]:
    """Images of both sides, and the queries' files, which are cut out of others."""
    wanted = {name: f"{start}jpg/{name}.jpg" for name in (*truth.gallery, *truth.queries)}
    if missing := [file for file in wanted.values() if file not in files]:
        raise ValueError(f"{len(missing)} of {len(wanted)} images are not there: {some(missing)}")
    gallery = [Item("gallery", "", wanted[name], f"{name}.jpg") for name in truth.gallery]
    queries = [Item("query", "", f"{start}query/{name}.png", f"{name}.jpg") for name in truth.queries]
    boxes = zip(queries, truth.queries, truth.boxes, strict=True)
    return [*queries, *gallery], {item.file: (wanted[name], box) for item, name, box in boxes}


DATASETS = {"revisited": read}
