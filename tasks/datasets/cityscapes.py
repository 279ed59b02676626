"""cityscapes:PATH[#CLASSES] - Cityscapes as a set of objects: its eight classes with instances, boxes and outlines.

The folder or zip holds ``leftImg8bit/`` and ``gtFine/`` as they unpack. For instance ``cityscapes:cityscapes``, or
``cityscapes:cityscapes#car``, its cars alone, as detection out of distribution is tested on them. Train is the official
one and the test is the official val, since the published test has no annotations. Groups of objects are crowds.
"""

from collections.abc import Collection, Hashable, Iterable, Mapping
from functools import partial
from importlib.metadata import version

from backbones.plugins import unknown
from tasks.datasets.annotated_images import Annotated, Picture, Row, assemble_objects
from tasks.datasets.base import Dataset, OpenOptions
from tasks.datasets.cityscapes_labels import WITH_INSTANCES, annotations_of, images_of
from tasks.datasets.cityscapes_polygons import from_text, read_polygons, to_text
from tasks.datasets.content_hashes import content_hashes, in_threads
from tasks.datasets.object_checks import Findings
from tasks.datasets.references import open_source, parse
from tasks.datasets.remembered import load_table, save_table, table_path
from tasks.datasets.sources import Source

POLYGONS = "polygons.json"


def read(reference: str, options: OpenOptions) -> Dataset:
    """Open train and val. Objects of classes that are not asked for are left out.

    Raises ``FileNotFoundError`` for what is not there and ``ValueError`` with everything that must be mended.
    """
    parts = parse(reference, "cityscapes", ())
    classes = tuple(name.strip() for name in parts.part.split(",")) if parts.part else WITH_INSTANCES
    for name in classes:
        if name not in WITH_INSTANCES:
            raise unknown(f"class of dataset 'cityscapes:{reference}',", name, WITH_INSTANCES)
    source = open_source(parts.path, options.places)
    findings = Findings()
    try:
        images = images_of(source.files())
    except ValueError as error:
        raise ValueError(f"dataset 'cityscapes:{reference}': {error}") from error
    said = {image: annotations_of(image, POLYGONS) for image in images}
    here = {*source.files()}
    findings.error("images have no polygons", [file for file in said.values() if file not in here])
    read_in = _polygons(source, [file for file in said.values() if file in here], options, findings)
    above = len(next(iter(images)).rpartition("leftImg8bit/")[0])
    pictures = [
        Picture(split, image, image[above:], _only(classes, read_in[said[image]][0]), read_in[said[image]][1])
        for image, split in images.items()
        if said[image] in read_in
    ]
    labels: dict[Hashable, int] = {name: label for label, name in enumerate(classes)}
    found = Annotated(f"cityscapes:{reference}", source, pictures, classes, labels, parts.path, outlined=True)
    return assemble_objects(found, findings, options)


def _only(classes: Collection[str | int], rows: Iterable[Row]) -> list[Row]:
    return [row for row in rows if row.label in classes]


def _polygons(
    source: Source, files: list[str], options: OpenOptions, findings: Findings
) -> Mapping[str, tuple[list[Row], tuple[int, int]]]:
    """The objects of each file, remembered by content, since painting takes a twentieth of a second an image."""
    table_file = table_path(options.cache, "polygons", f"{source.location} Pillow {version('pillow')}")
    known = load_table(table_file)
    content = dict(zip(files, content_hashes(source, files, options.cache), strict=True))
    fresh = [file for file in files if not content[file] or content[file] not in known]
    told = dict(zip(fresh, in_threads(partial(_told, source), fresh), strict=True))
    if new := {content[file]: text for file, text in told.items() if content[file] and not text.startswith(_WRONG)}:
        save_table(table_file, known | new)
    findings.error(
        "files of polygons cannot be read",
        [f"{file} {text.removeprefix(_WRONG)}" for file, text in told.items() if text.startswith(_WRONG)],
    )
    texts = {file: told[file] if file in told else known[content[file]] for file in files}
    return {file: from_text(text) for file, text in texts.items() if not text.startswith(_WRONG)}


_WRONG = "wrong: "


def _told(source: Source, file: str) -> str:
    try:
        return to_text(*read_polygons(source.read(file)))
    except (OSError, ValueError) as error:
        return f"{_WRONG}{error}"


DATASETS = {"cityscapes": read}
