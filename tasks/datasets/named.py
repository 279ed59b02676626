"""named:NAME[#PART] - a set of the catalogue, from the first of its layouts that is on disk: named:cifar-10, ...

For instance ``named:cifar-10``, or the name alone.
"""

from dataclasses import replace

import numpy as np

from backbones.places import Places
from backbones.plugins import unknown
from tasks.catalogue import open_dataset
from tasks.datasets.base import Dataset, OpenOptions
from tasks.datasets.catalogue import NamedSet, named_sets
from tasks.datasets.targets import ONE_CLASS


def read(reference: str, options: OpenOptions) -> Dataset:
    """Open the first layout that is there; where none is, the first that can be downloaded.

    Raises ``FileNotFoundError`` saying what is missing and where to get it, and ``ValueError`` where something is there
    and damaged. Counts other than the official ones are warnings, which every record then carries.
    """
    if reference not in named_sets():
        raise unknown("dataset", reference, named_sets())
    entry = named_sets()[reference]
    dataset = _first(entry, options)
    warnings = (*differences(entry, dataset), *dataset.warnings)
    return replace(dataset, name=entry.name, licence=entry.licence, warnings=warnings)


def differences(entry: NamedSet, dataset: Dataset) -> list[str]:
    """A line for each number that is not the official one: images of a split, classes that have any.

    Where the set was found without its splits, the images of all of them together. What nobody stated is no difference.
    """
    found = {split: len(images) for split, images in dataset.splits.items()}
    official = {"all": sum(entry.images.values())} if list(found) == ["all"] else entry.images
    lines = [
        f"{split} has {found.get(split, 0):,} images, officially {official.get(split, 0):,}"
        for split in ({**official, **found} if entry.images else ())
        if found.get(split, 0) != official.get(split, 0)
    ]
    present = len(dataset.classes)
    if dataset.target in ONE_CLASS:
        present = len(np.unique(np.concatenate([images.labels for images in dataset.splits.values()])))
    if entry.classes not in (None, present):
        lines.append(f"{present:,} classes have images, officially {entry.classes:,}")
    return lines


def _first(entry: NamedSet, options: OpenOptions) -> Dataset:
    may_fetch = options.download and (options.large_downloads or not entry.large)
    lacking: dict[str, str] = {}
    for download in (False, True) if may_fetch else (False,):
        absent = (OSError, ImportError) if download else (FileNotFoundError, ImportError)  # a full disk is neither
        for layout in _layouts(entry, options.places):
            try:
                return open_dataset(layout, replace(options, download=download))
            except ValueError as error:
                tried = "; ".join([*lacking.values(), str(error)])
                raise ValueError(
                    f"{entry.name} is damaged or something else: {tried}\nget it: {entry.where}"
                ) from error
            except absent as error:
                lacking[layout] = str(error)
    raise FileNotFoundError(_not_here(entry, options.places, [*lacking.values()], may_fetch))


def _not_here(entry: NamedSet, places: Places, reasons: list[str], tried_to_fetch: bool) -> str:
    if entry.folders:
        roots = ", ".join(str(root.absolute()) for root in dict.fromkeys(places.roots))
        reasons = [*reasons, f"folders looked for in {roots}: {', '.join(entry.folders)}"]
    offer = entry.download and not tried_to_fetch
    fetch = f"; or have it fetched: bob data check '{entry.name}' --download" if offer else ""
    return f"{entry.name} is not here ({'; '.join(reasons)}); get it: {entry.where}{fetch}"


def _layouts(entry: NamedSet, places: Places) -> list[str]:
    """The layouts as references; one that is in a folder once for each folder that exists, so perhaps never."""
    found: list[str] = []
    for layout in entry.layouts:
        folders = [name for name in entry.folders if _exists(name, places)] if "{folder}" in layout else [""]
        found += [layout.format(folder=folder) for folder in folders]
    return found


def _exists(folder: str, places: Places) -> bool:
    return any((root / folder).is_dir() for root in places.roots)


DATASETS = {"named": read}
