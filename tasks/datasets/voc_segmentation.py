"""voc_segmentation:PATH[#FOLDER] - Pascal VOC with the class of every pixel: background, 20 classes, and void borders.

By the lists in ``ImageSets/Segmentation``, of every year in the folder or zip. For instance
``voc_segmentation:VOCdevkit#VOC2012``: official train (1,464 images) and val (1,449), which is the test, since the
official test is not published.
"""

from tasks.datasets.assembly import Found
from tasks.datasets.base import Dataset, OpenOptions
from tasks.datasets.class_folders import is_junk
from tasks.datasets.label_maps import VOID
from tasks.datasets.manifest import Item
from tasks.datasets.object_checks import Findings
from tasks.datasets.pixel_classes import PixelClasses, assemble_maps
from tasks.datasets.references import open_source, parse
from tasks.datasets.voc_layout import is_devkit, listed_images

CLASSES = PixelClasses(
    dict(
        enumerate(
            (
                *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
                *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train"),
                "tvmonitor",
            )
        )
    ),
    frozenset({VOID}),
)


def read(reference: str, options: OpenOptions) -> Dataset:
    """Open the listed images with their maps of ``SegmentationClass``, whose palette indices are the classes.

    Raises ``FileNotFoundError`` for what is not there and ``ValueError`` naming maps that are missing or wrong.
    """
    parts = parse(reference, "voc_segmentation", ())
    name = f"voc_segmentation:{reference}"
    source = open_source(parts.path, options.places)
    findings = Findings()
    below = f"{parts.part}/" if parts.part else ""
    files = [file for file in source.files() if file.startswith(below) and not is_junk(file)]
    try:
        if not is_devkit(files, "Segmentation"):
            raise ValueError(f"no ImageSets/Segmentation/train.txt below {parts.part or source.location}")
        images = [*listed_images(source, files, "Segmentation", ("SegmentationClass", ".png"), findings)]
    except ValueError as error:
        raise ValueError(f"dataset {name!r}: {error}") from error
    items = [Item(image.split, "", image.file, image.name, map=image.said_in) for image in images]
    found = Found(
        name, source, items, CLASSES.classes, parts.path, warnings=findings.finish(name),
        target="pixels", meaning=CLASSES.meaning,
    )  # fmt: skip
    return assemble_maps(found, CLASSES.known, options)


DATASETS = {"voc_segmentation": read}
