"""class_retrieval:PATH[#FOLDER][?most=COUNT] - class folders as queries and gallery, by the rule of the 2023 study.

Of each class the first fifth of its images, in the order of their names, are queries (rounded down) and the rest are
gallery; with ``most`` only the first so many images of a class are taken at all. For instance
``class_retrieval:INSTRE-S1?most=50``, or ``class_retrieval:inat2021#val?most=5`` (a query and four others a species).
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from tasks.datasets.assembly import Found, assemble
from tasks.datasets.base import Dataset, OpenOptions
from tasks.datasets.class_folders import read_layout
from tasks.datasets.manifest import Item
from tasks.datasets.references import open_source, parse

SHARE = 5
"""One in so many is a query."""


def read(reference: str, options: OpenOptions) -> Dataset:
    """Open class folders in a directory or a zip; ``#val`` takes those in that folder alone.

    A class of fewer than five images has no query, and is in the gallery all the same. Raises ``ValueError`` where
    folders of splits would be mixed, for a ``most`` that is no whole number from 2 up, or where no class has a query.
    """
    parts = parse(reference, "class_retrieval", ("most",))
    source = open_source(parts.path, options.places)
    try:
        most = _most(parts.settings.get("most", ""))
        layout = read_layout(source.files(), source.folders(), parts.part, label_from_file=False)
        if splits := sorted({item.split for item in layout.items} - {"all"}):
            raise ValueError(f"it has folders of splits ({', '.join(splits)}); choose one, as in #{splits[0]}")
        items = list(divided(layout.items, most))
        if all(item.split == "gallery" for item in items):
            raise ValueError(f"no class has {SHARE} images, so that there is no query")
    except ValueError as error:
        raise ValueError(f"dataset 'class_retrieval:{reference}': {error}") from error
    classes = tuple(sorted({item.class_name for item in items}))
    found = Found(f"class_retrieval:{reference}", source, items, classes, parts.path, warnings=layout.warnings)
    return assemble(found, options)


def divided(items: Sequence[Item], most: int | None) -> Iterator[Item]:
    """Each class's items by name, the first ``most`` of them (all if None), as queries and then gallery.

    >>> items = [Item("all", "cat", f"{n}.jpg", f"{n}.jpg") for n in "edcbafghijkl"]
    >>> [item.name[0] for item in divided(items, None) if item.split == "query"]
    ['a', 'b']
    >>> [item.name[0] for item in divided(items, 6)], [item.split for item in divided(items, 6)].count("query")
    (['a', 'b', 'c', 'd', 'e', 'f'], 1)
    """
    classes = defaultdict[str, list[Item]](list)
    for item in items:
        classes[item.class_name].append(item)
    for members in classes.values():
        kept = sorted(members, key=lambda item: item.name)[:most]
        for place, item in enumerate(kept):
            yield item._replace(split="query" if place < len(kept) // SHARE else "gallery")


def _most(given: str) -> int | None:
    if not given:
        return None
    if not given.isdecimal() or int(given) < 2:
        raise ValueError(f"most={given!r}; it takes a whole number from 2 up")
    return int(given)


DATASETS = {"class_retrieval": read}
