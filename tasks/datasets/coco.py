"""coco:PATH[#ANNOTATIONS][?images=PATH] - a set of COCO's json format, COCO itself or your own, a folder or a zip.

For instance ``coco:coco`` (``annotations/instances_train2017.json``, images in ``train2017/`` or in a stored
``train2017.zip``), ``coco:bccd_detection.zip`` (``train.json``, ``val.json``, ``test.json``), or
``coco:coco_mini.zip#instances_seg`` (``instances_seg_train.json`` among others). ``?images=PATH`` is another folder or
zip that holds the images. An image without annotations is a negative; every object has an outline or none has.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from tasks.datasets.annotated_images import sizes_of
from tasks.datasets.assembly import Found, assemble
from tasks.datasets.base import Dataset, OpenOptions
from tasks.datasets.coco_layout import find_images, find_tables, packed_folders
from tasks.datasets.coco_objects import Pictures, objects_of
from tasks.datasets.coco_tables import CocoTable, fields_of, read_table
from tasks.datasets.listed import inside
from tasks.datasets.manifest import Item
from tasks.datasets.object_checks import Findings, check_categories
from tasks.datasets.packed_beside import with_packed
from tasks.datasets.references import open_source, parse
from tasks.datasets.sources import Source

USUAL = ("", "instances")
"""Kinds of annotations that are objects: COCO has captions and keypoints beside them."""


def read(reference: str, options: OpenOptions) -> Dataset:
    """Open a set; classes are in the order of the categories' numbers, which the dataset no longer knows.

    Raises ``FileNotFoundError`` for what is not there and ``ValueError`` with everything that must be mended.
    """
    return open_coco("coco", reference, options, USUAL)


def open_coco(
    reader: str, reference: str, options: OpenOptions, usual: Sequence[str], federated: bool = False
) -> Dataset:
    """What ``read`` says. Of several sets of annotations one of the ``usual`` kinds needs no name.

    Every image of a ``federated`` set must say for which classes it was searched.
    """
    parts = parse(reference, reader, ("images",))
    name = f"{reader}:{reference}"
    annotated = open_source(parts.path, options.places)
    elsewhere = parts.settings.get("images")
    try:
        places = find_tables(annotated.files(), parts.part, usual)
    except ValueError as error:
        raise ValueError(f"dataset {name!r}: {error}") from error
    tables = {split: read_table(annotated, place.file) for split, place in places.items()}
    if elsewhere:
        places = {split: place.at_top() for split, place in places.items()}
    names = {split: _names(table) for split, table in tables.items()}
    source = open_source(elsewhere, options.places) if elsewhere else annotated
    source = with_packed(
        source, [each for split, place in places.items() for each in packed_folders(names[split], place)]
    )
    files = frozenset(source.files())
    pictures = {
        split: Pictures(tables[split], names[split], find_images(names[split], place, files))
        for split, place in places.items()
    }

    findings = Findings()
    check_categories({split: table.categories for split, table in tables.items()}, findings)
    here = (file for each in pictures.values() for file in each.files if file in files)
    sizes = sizes_of(source, here, options, findings)
    _told_missing(source, pictures, files, options, findings)
    objects = objects_of(pictures, sizes, federated, options.drop_bad_boxes, findings)
    first = next(iter(tables.values()))
    found = Found(
        name,
        source,
        [
            Item(split, "", file, f"{split}/{image}", objects=own)
            for split, each in pictures.items()
            for file, image, own in zip(each.files, each.names, objects[split], strict=True)
        ],
        tuple(first.categories.values()),
        f"{parts.path}, images in {elsewhere}" if elsewhere else parts.path,
        warnings=findings.finish(name),
        target="objects",
        frequency=first.frequency,
    )
    return assemble(found, options)


def _names(table: CocoTable) -> list[str]:
    if not table.images:
        raise ValueError(f"{table.file} lists no images")
    place = Path(table.file)
    with fields_of(table.file):
        return [inside(_name(image), place) for image in table.images]


def _name(image: Mapping[str, object]) -> str:
    """LVIS gives no name of a file, but the address the image had: its split's folder and its name."""
    return str(image["file_name"]) if "file_name" in image else "/".join(str(image["coco_url"]).split("/")[-2:])


def _told_missing(
    source: Source, pictures: Mapping[str, Pictures], files: frozenset[str], options: OpenOptions, findings: Findings
) -> None:
    """Images that are listed and not there are errors, unless what cannot be read is to be skipped."""
    for split, each in pictures.items() if not options.skip_unreadable else ():
        lacking = [file for file in each.files if file not in files]
        findings.error(f"of {len(each.files):,} images of {split} are not in {source.location}", lacking)


DATASETS = {"coco": read}
