"""voc:PATH[#FOLDER][?classes=NAMES] - a set in Pascal VOC's XML, VOC itself, Clipart1k and its kin, or your own.

For instance ``voc:VOCdevkit`` (every year in it), ``voc:VOCdevkit#VOC2007``, or ``voc:clipart.zip``, by their lists in
``ImageSets/Main``; or ``voc:my_set``, images with an XML of the same name beside them or in a folder called alike
(``images/train/1.jpg``, ``annotations/train/1.xml``). ``?classes=car,bus`` keeps the objects of those alone. Boxes
are numbered from 1 and hold their last pixel; objects marked difficult are crowds.
"""

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence

from tasks.datasets.annotated_images import Annotated, Picture, assemble_objects
from tasks.datasets.base import Dataset, OpenOptions
from tasks.datasets.class_folders import is_junk
from tasks.datasets.object_checks import Findings
from tasks.datasets.references import open_source, parse
from tasks.datasets.sources import Source
from tasks.datasets.voc_layout import Found, is_devkit, listed_images, paired_images
from tasks.datasets.voc_xml import read_voc_xml


def read(reference: str, options: OpenOptions) -> Dataset:
    """Open a set; classes are the names found, sorted, or those asked for in that order.

    Raises ``FileNotFoundError`` for what is not there and ``ValueError`` with everything that must be mended.
    """
    parts = parse(reference, "voc", ("classes",))
    asked = tuple(name.strip() for name in parts.settings.get("classes", "").split(",") if name.strip())
    source = open_source(parts.path, options.places)
    findings = Findings()
    below = f"{parts.part}/" if parts.part else ""
    files = [file for file in source.files() if file.startswith(below) and not is_junk(file)]
    try:
        if is_devkit(files, "Main"):
            images = [*listed_images(source, files, "Main", ("Annotations", ".xml"), findings)]
        else:
            images = [*paired_images(files, findings)]
    except ValueError as error:
        raise ValueError(f"dataset 'voc:{reference}': {error}") from error
    return open_voc(f"voc:{reference}", source, images, asked, parts.path, findings, options)


def open_voc(
    name: str,
    source: Source,
    images: Sequence[Found],
    asked: tuple[str, ...],
    origin: str,
    findings: Findings,
    options: OpenOptions,
) -> Dataset:
    """The dataset of these images with their XML, of the classes asked for, or of all where none are."""
    pictures = [*_pictures(source, images, findings)]
    found = {str(row.label) for picture in pictures for row in picture.rows}
    if not findings.errors and not pictures:
        raise ValueError(f"dataset {name!r}: no image with an XML of VOC's kind below {source.location}")
    if lacking := [each for each in asked if each not in found]:
        findings.error(f"classes asked for have no object (there are: {', '.join(sorted(found))})", lacking)
    if asked:
        pictures = [*_only(asked, pictures, findings)]
    spelt = Counter(each.casefold() for each in found)
    findings.warning(
        "classes differ only in case; they are kept apart", sorted(each for each in found if spelt[each.casefold()] > 1)
    )
    classes = asked or tuple(sorted(found))
    labels: dict[Hashable, int] = {each: label for label, each in enumerate(classes)}
    return assemble_objects(Annotated(name, source, pictures, classes, labels, origin), findings, options)


def _pictures(source: Source, images: Iterable[Found], findings: Findings) -> Iterable[Picture]:
    wrong = list[str]()
    for image in images:
        try:
            said = read_voc_xml(source.read(image.said_in))
        except (OSError, ValueError) as error:
            wrong.append(f"{image.said_in}: {error}")
        else:
            yield Picture(image.split, image.file, image.name, said.rows, said.size)
    findings.error("annotation files cannot be read", wrong)


def _only(asked: Sequence[str], pictures: Iterable[Picture], findings: Findings) -> Iterable[Picture]:
    left_out = Counter[str]()
    for picture in pictures:
        left_out.update(str(row.label) for row in picture.rows if row.label not in asked)
        yield picture._replace(rows=[row for row in picture.rows if row.label in asked])
    findings.warning(f"classes were not asked for; their {left_out.total():,} objects are left out", sorted(left_out))


DATASETS = {"voc": read}
