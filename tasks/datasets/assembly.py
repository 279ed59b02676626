"""From a list of files with classes to a dataset: hashed, checked to be readable, put in order, warned about."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from jaxtyping import UInt8

from tasks.datasets.base import Dataset, Frequency, OpenOptions, Split, Target
from tasks.datasets.content_hashes import content_hashes
from tasks.datasets.label_maps import LabelMaps
from tasks.datasets.manifest import Item, class_warnings, leaks, manifest_sha256, shared_groups
from tasks.datasets.readable import check_readable, listing
from tasks.datasets.relevance import Judged, Relevance, relevance_of
from tasks.datasets.sources import Source, SourceImages, some
from tasks.datasets.targets import ONE_CLASS, ROWS_OF_NUMBERS

NO_CLASS = -1
SPLIT_ORDER = ("train", "val", "test", "query", "gallery", "all")
"""Splits of any other name are only tested on (a corruption's levels): they come after these, sorted by name."""


@dataclass(frozen=True)
class Found:
    """What a reader found. ``classes`` in label order; ``made_here`` images need no check that they decode.

    ``judged`` says by name which images of the gallery answer each query, where a reader knows it. ``meaning`` says,
    for target pixels, which class each value of the maps stands for (``LabelMaps``). ``frequency`` is of each class.
    """

    name: str
    source: Source
    items: Sequence[Item]
    classes: tuple[str, ...]
    origin: str
    licence: str = "not stated"
    warnings: tuple[str, ...] = ()
    made_here: bool = False
    target: Target = "class"
    judged: Mapping[str, Judged] | None = None
    meaning: UInt8[np.ndarray, "256"] | None = None
    frequency: tuple[Frequency, ...] | None = None


def assemble(found: Found, options: OpenOptions) -> Dataset:
    """The dataset of what was found.

    Raises ``ValueError`` listing the unreadable images, unless ``options.skip_unreadable`` drops and counts them.
    """
    if not found.items:
        raise ValueError(f"dataset {found.name!r} holds no images")
    items = sorted(found.items, key=lambda item: (_place(item.split), item.name))
    files = [item.file for item in items]
    content = dict(zip(files, content_hashes(found.source, files, options.cache), strict=True))
    bad = (
        {} if found.made_here else check_readable(found.source, files, [content[file] for file in files], options.cache)
    )
    if bad and not options.skip_unreadable:
        raise ValueError(
            f"dataset {found.name!r}: {len(bad)} of {len(items)} images cannot be read "
            f"(mend or remove them, or leave them out with --skip-unreadable):\n{listing(bad)}"
        )
    map_files = sorted({item.map for item in items if item.map})
    content |= dict(zip(map_files, content_hashes(found.source, map_files, options.cache), strict=True))
    used = [item for item in items if item.file not in bad]
    if not used:
        raise ValueError(f"dataset {found.name!r}: none of its {len(items)} images can be read:\n{listing(bad)}")
    readable = {name: [*members] for name, members in groupby(used, key=lambda item: item.split)}
    names = dict.fromkeys(item.split for item in items)
    splits = {name: _split(found, readable.get(name, []), content) for name in names}
    contents = [content[item.file] for item in used]
    skipped = (
        [f"{len(bad)} of {len(items)} images could not be read and were left out: {some(list(bad))}"] if bad else []
    )
    return Dataset(
        name=found.name,
        classes=found.classes,
        splits=splits,
        manifest_sha256=manifest_sha256(
            used, contents, found.target, found.classes, found.judged, content, found.frequency
        ),
        licence=found.licence,
        source=found.origin,
        n_total=len(items),
        n_used=len(used),
        warnings=(*found.warnings, *skipped, *class_warnings(used), *_leaks(splits)),
        target=found.target,
        relevance=_relevance(found, used),
        frequency=found.frequency,
    )


def _place(split: str) -> tuple[int, str]:
    return (SPLIT_ORDER.index(split) if split in SPLIT_ORDER else len(SPLIT_ORDER), split)


def _split(found: Found, members: Sequence[Item], content: dict[str, str]) -> Split:
    label = {class_name: index for index, class_name in enumerate(found.classes)}
    sha256 = tuple(content[item.file] for item in members)
    has_class = found.target in ONE_CLASS
    has_targets = found.target in ROWS_OF_NUMBERS
    return Split(
        SourceImages(found.source, tuple(item.file for item in members), sha256),
        np.asarray([label[item.class_name] if has_class else NO_CLASS for item in members], dtype=np.int64),
        sha256,
        np.asarray([item.targets for item in members], dtype=np.float32) if has_targets else None,
        tuple(item.group for item in members) if any(item.group for item in members) else None,
        tuple(item.captions for item in members) if found.target == "captions" else None,
        tuple(item.objects for item in members if item.objects is not None) if found.target == "objects" else None,
        _maps(found, members, content) if found.target == "pixels" else None,
    )


def _maps(found: Found, members: Sequence[Item], content: dict[str, str]) -> LabelMaps:
    files = tuple(item.map for item in members)
    assert found.meaning is not None
    return LabelMaps(SourceImages(found.source, files, tuple(content[file] for file in files)), found.meaning)


def _relevance(found: Found, used: Sequence[Item]) -> Relevance | None:
    if found.judged is None:
        return None
    queries, gallery = ([item.name for item in used if item.split == split] for split in ("query", "gallery"))
    left_out = {item.name for item in found.items} - {item.name for item in used}
    try:
        return relevance_of(found.judged, queries, gallery, left_out)
    except ValueError as error:
        raise ValueError(f"dataset {found.name!r}: {error}") from error


def _leaks(splits: dict[str, Split]) -> list[str]:
    splits = {name: split for name, split in splits.items() if name in SPLIT_ORDER}
    contents = {name: split.sha256 for name, split in splits.items()}
    groups = {name: split.groups for name, split in splits.items() if split.groups is not None}
    return leaks(contents, {name: split.images.names for name, split in splits.items()}) + shared_groups(groups)
