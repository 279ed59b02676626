"""``bob data check``: what is on disk, against the official counts and against what was there at the first check."""

import hashlib
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tasks.catalogue import known_dataset, open_dataset
from tasks.datasets.base import Dataset, OpenOptions
from tasks.datasets.catalogue import named_sets
from tasks.datasets.named import differences

FOLDER = "datasets"
"""In the store: a file a dataset, with the manifest of its first check that found nothing amiss."""


def check(name: str, options: OpenOptions, store: Path) -> tuple[list[str], bool]:
    """Lines about the dataset, and whether it is as it should be; every image is read and decoded once.

    Raises ``OSError`` where it is not here, saying where to get it, and ``ValueError`` for a name that is none. A set
    that is here and damaged is no error: the lines say so.
    """
    known_dataset(name)
    bad = f"NOT as it should be: {name}"
    try:
        dataset = open_dataset(name, options)
    except ValueError as error:
        return [str(error), bad], False
    amiss = [*_amiss(name, dataset), *_changed(name, dataset, store)]
    if not amiss:
        _keep(name, dataset, store)
    warnings = [f"warning: {line}" for line in dataset.warnings if line not in amiss]
    differs = [f"differs: {line}" for line in amiss]
    return [*_seen(dataset), *warnings, *differs, bad if amiss else f"as it should be: {name}"], not amiss


def _seen(dataset: Dataset) -> Iterator[str]:
    yield f"{dataset.name}: {dataset.source}"
    for split, images in dataset.splits.items():
        objects = "" if images.objects is None else f", {sum(map(len, images.objects)):,} objects"
        yield f"split {split}: {len(images):,} images{objects}"
    yield f"classes: {len(dataset.classes):,}"
    yield f"manifest: {dataset.manifest_sha256}"


def _amiss(name: str, dataset: Dataset) -> Iterator[str]:
    """What is not official; nothing can be said of a set that is not in the catalogue."""
    if entry := named_sets().get(name):
        yield from differences(entry, dataset)
        if entry.manifests and dataset.manifest_sha256 not in entry.manifests:
            yield f"manifest: none of those known for {name}: {', '.join(entry.manifests)}"
    if dataset.n_used < dataset.n_total:
        yield f"{dataset.n_total - dataset.n_used:,} of {dataset.n_total:,} images could not be read"


def _changed(name: str, dataset: Dataset, store: Path) -> Iterator[str]:
    try:
        first: dict[str, Any] = json.loads(_file(name, store).read_bytes())
    except FileNotFoundError:
        return
    if first["manifest_sha256"] != dataset.manifest_sha256:
        yield (
            f"manifest: it was {first['manifest_sha256']} when first checked, {first['checked']}; "
            f"files were changed, or another copy is read (remove {_file(name, store)} to take this one)"
        )


def _keep(name: str, dataset: Dataset, store: Path) -> None:
    target = _file(name, store)
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    found = {
        "name": name,
        "manifest_sha256": dataset.manifest_sha256,
        "images": {split: len(images) for split, images in dataset.splits.items()},
        "classes": len(dataset.classes),
        "checked": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    fresh = target.with_name(f".{target.name}.{os.getpid()}")
    fresh.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    os.replace(fresh, target)


def _file(name: str, store: Path) -> Path:
    """Named by a hash, since a name may hold a path."""
    return store / FOLDER / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.json"
