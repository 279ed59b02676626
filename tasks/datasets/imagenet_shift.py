"""imagenet_shift:PATH - a test set for ImageNet-1k's classifiers: V2, A, R, Sketch, as their archives unpack.

For instance ``imagenet_shift:imagenet-r`` (folders named by WordNet ids) or
``imagenet_shift:imagenetv2-matched-frequency-format-val`` (folders named by the classes' numbers, 0 to 999).
"""

from collections.abc import Mapping, Sequence

from tasks.datasets.assembly import Found, assemble
from tasks.datasets.base import Dataset, OpenOptions
from tasks.datasets.class_folders import read_layout
from tasks.datasets.imagenet import wordnet_ids
from tasks.datasets.manifest import Item
from tasks.datasets.references import open_source, parse
from tasks.datasets.sources import some


def read(reference: str, options: OpenOptions) -> Dataset:
    """Open a folder or zip of class folders as a test set: nothing is ever learnt from it.

    Its classes are those it has images of, as WordNet ids in the official order, so that a question asked among its
    own classes is masked as ImageNet-A and -R ask. Raises ``ValueError`` for a folder that is none of the 1,000.
    """
    parts = parse(reference, "imagenet_shift", ())
    source = open_source(parts.path, options.places)
    try:
        layout = read_layout(source.files(), source.folders(), parts.part, label_from_file=False)
        wordnet_id = _meanings(sorted({item.class_name for item in layout.items}), wordnet_ids())
    except ValueError as error:
        raise ValueError(f"dataset 'imagenet_shift:{reference}': {error}") from error
    items = [_item(item, wordnet_id[item.class_name]) for item in layout.items]
    present = {item.class_name for item in items}
    classes = tuple(name for name in wordnet_ids() if name in present)
    found = Found(f"imagenet_shift:{reference}", source, items, classes, parts.path, warnings=layout.warnings)
    return assemble(found, options)


def _meanings(folders: Sequence[str], official: Sequence[str]) -> Mapping[str, str]:
    """The WordNet id that each folder means. Numbers are read as such: sorted as text, ``10`` comes before ``2``."""
    if all(name.isdecimal() and int(name) < len(official) for name in folders):
        return {name: official[int(name)] for name in folders}
    if foreign := [name for name in folders if name not in set(official)]:
        raise ValueError(
            f"{len(foreign)} of {len(folders)} class folders are neither WordNet ids of ImageNet-1k nor all of them "
            f"numbers 0 to {len(official) - 1}: {some(foreign)}; other class folders are opened as images:PATH"
        )
    return {name: name for name in folders}


def _item(item: Item, wordnet_id: str) -> Item:
    """An image has the same name however its folder is called."""
    return Item("test", wordnet_id, item.file, f"{wordnet_id}/{item.name.rpartition('/')[2]}")


DATASETS = {"imagenet_shift": read}
