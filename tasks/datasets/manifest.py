"""What a dataset is, apart from where it lies: the hash of its manifest, and the files that leaked between splits."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

from tasks.datasets.base import Frequency, Target
from tasks.datasets.objects import Objects
from tasks.datasets.relevance import Judged
from tasks.datasets.sources import some


class Item(NamedTuple):
    """One image of a dataset: its split, its class, its file, and its name without the folders around the set.

    ``class_name`` is empty where the image has no one class but ``targets``, ``captions``, ``objects``, or a ``map``:
    the file that holds the class of each of its pixels. ``group`` says whose it is, if anybody's.
    """

    split: str
    class_name: str
    file: str
    name: str
    targets: tuple[float, ...] = ()
    group: str = ""
    captions: tuple[str, ...] = ()
    objects: Objects | None = None
    map: str = ""


def manifest_sha256(
    items: Iterable[Item],
    sha256: Iterable[str],
    target: Target = "class",
    classes: Sequence[str] = (),
    judged: Mapping[str, Judged] | None = None,
    maps: Mapping[str, str] | None = None,
    frequency: Sequence[Frequency] | None = None,
) -> str:
    """SHA-256 over the sorted (split, name, class name, content hash) of every image, a JSON line each.

    Targets, group, captions, objects and the content of the map (``maps`` holds it by its file) are in the line of an
    image that has them. Where the target is more than a class the
    kind and its ``classes`` come first, since there the order of the classes says which column is whose, or how far
    apart two are; then their ``frequency``, if it is known. What was judged of each query by its name comes last.

    >>> one, other = Item("all", "cat", "a.jpg", "a.jpg"), Item("all", "dog", "a.jpg", "a.jpg")
    >>> manifest_sha256([one], ["00"]) == manifest_sha256([other], ["00"])
    False
    """
    digest = hashlib.sha256()
    if target != "class":
        digest.update(json.dumps([target, *classes]).encode() + b"\n")
    if frequency is not None:
        digest.update(json.dumps(["frequency", *frequency]).encode() + b"\n")
    for row in sorted(_line(item, content, maps or {}) for item, content in zip(items, sha256, strict=True)):
        digest.update(json.dumps(row).encode() + b"\n")
    for query, one in sorted((judged or {}).items()):
        digest.update(json.dumps(one.lines(query)).encode() + b"\n")
    return digest.hexdigest()


def _line(item: Item, content: str, maps: Mapping[str, str]) -> tuple[str, ...]:
    """Targets are written as text, which sorts and keeps NaN where numbers would do neither."""
    tells = item.targets or item.group or item.captions
    told = (",".join(map(repr, item.targets)), item.group, *item.captions) if tells else ()
    objects = (item.objects.sha256,) if item.objects is not None else ()
    pixels = (maps[item.map],) if item.map else ()
    return (item.split, item.name, item.class_name, content, *told, *objects, *pixels)


def leaks(contents: Mapping[str, Sequence[str]], names: Mapping[str, Sequence[str]]) -> list[str]:
    """A warning for each pair of splits that hold identical files, by content hash, with the first names."""
    found = []
    for one, other in combinations(contents, 2):
        held = set(contents[one])
        shared = [name for name, sha256 in zip(names[other], contents[other], strict=True) if sha256 in held]
        if shared:
            found.append(
                f"leak: {len(shared)} of {len(names[other])} images of {other} are also in {one}: {some(shared)}"
            )
    return found


def shared_groups(groups: Mapping[str, Sequence[str]]) -> list[str]:
    """A warning for each pair of splits that share a group: what was learnt of it in one is known in the other."""
    found = []
    for one, other in combinations(groups, 2):
        if shared := sorted(set(groups[one]) & set(groups[other])):
            found.append(f"leak: {len(shared)} groups of {other} are also in {one}: {some(shared)}")
    return found


def class_warnings(items: Iterable[Item]) -> list[str]:
    """Classes that a split lacks, and classes whose names differ only in case."""
    held: dict[str, set[str]] = defaultdict(set)
    for item in items:
        held[item.split].add(item.class_name)
    classes = sorted(set().union(*held.values()))
    found = []
    for split, present in held.items():
        if missing := [name for name in classes if name not in present]:
            found.append(f"{len(missing)} of {len(classes)} classes have no image in {split}: {some(missing)}")
    spellings: dict[str, list[str]] = defaultdict(list)
    for name in classes:
        spellings[name.casefold()].append(name)
    found += [
        f"classes {' and '.join(same)} differ only in case; they are kept apart"
        for same in spellings.values()
        if len(same) > 1
    ]
    return found
