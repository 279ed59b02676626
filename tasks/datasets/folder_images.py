"""images:PATH[#SUBFOLDER][?label=file-prefix] - class folders in a directory or a zip, with train/val/test if there.

The layout is ``[train|val|test/]CLASS/NAME.jpg``, relative to ``--data-root``. Without those folders the parts are
carved, seeded, and the record says how. For instance ``images:flowers`` (a folder), ``images:pacs.zip#photo`` (one
folder of a zip as a set of its own), or ``images:mini.zip?label=file-prefix`` (names like ``CLASS_1.jpg``).
"""

from tasks.datasets.assembly import Found, assemble
from tasks.datasets.base import Dataset, OpenOptions
from tasks.datasets.class_folders import read_layout
from tasks.datasets.references import open_source, parse

LABELS = ("folder", "file-prefix")


def read(reference: str, options: OpenOptions) -> Dataset:
    """Open class folders. ``#photo`` keeps one subfolder; ``?label=file-prefix`` reads ``CLASS_anything.jpg``.

    Raises ``FileNotFoundError`` naming the places looked in, and ``ValueError`` saying what the layout lacks.
    """
    parts = parse(reference, "images", ("label",))
    label = parts.settings.get("label", "folder")
    if label not in LABELS:
        raise ValueError(f"dataset 'images:{reference}': label={label!r}; choose from {', '.join(LABELS)}")
    source = open_source(parts.path, options.places)
    try:
        layout = read_layout(source.files(), source.folders(), parts.part, label == "file-prefix")
    except ValueError as error:
        raise ValueError(f"dataset 'images:{reference}': {error}") from error
    classes = tuple(sorted({item.class_name for item in layout.items}))
    found = Found(f"images:{reference}", source, layout.items, classes, parts.path, warnings=layout.warnings)
    return assemble(found, options)


DATASETS = {"images": read}
