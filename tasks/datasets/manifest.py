"""What a dataset is, apart from where it lies: the hash of its manifest, and the files that leaked between splits."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

from tasks.datasets.sources import some


class Item(NamedTuple):
    """One image of a dataset: its split, its class, its file, and its name without the folders around the set."""

    split: str
    class_name: str
    file: str
    name: str


def manifest_sha256(items: Iterable[Item], sha256: Iterable[str]) -> str:
    """SHA-256 over the sorted (split, name, class name, content hash) of every image, a JSON line each.

    >>> one, other = Item("all", "cat", "a.jpg", "a.jpg"), Item("all", "dog", "a.jpg", "a.jpg")
    >>> manifest_sha256([one], ["00"]) == manifest_sha256([other], ["00"])
    False
    """
    digest = hashlib.sha256()
    rows = zip(items, sha256, strict=True)
    for row in sorted((item.split, item.name, item.class_name, content) for item, content in rows):
        digest.update(json.dumps(row).encode() + b"\n")
    return digest.hexdigest()


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
