"""cityscapes_segmentation:PATH - Cityscapes with the class of every pixel: its 19 evaluated classes, all else void.

The folder or zip holds ``leftImg8bit/`` and ``gtFine/`` as they unpack; read are ``gtFine/*_gtFine_labelIds.png``. For
instance ``cityscapes_segmentation:cityscapes``. The test is the official val: the published test has no annotations.
"""

from tasks.datasets.assembly import Found
from tasks.datasets.base import Dataset, OpenOptions
from tasks.datasets.cityscapes_labels import EVALUATED, NUMBERS, annotations_of, images_of
from tasks.datasets.manifest import Item
from tasks.datasets.pixel_classes import PixelClasses, assemble_maps
from tasks.datasets.references import open_source, parse

CLASSES = PixelClasses(
    {NUMBERS[name]: name for name in EVALUATED}, frozenset(NUMBERS.values()) - {NUMBERS[name] for name in EVALUATED}
)


def read(reference: str, options: OpenOptions) -> Dataset:
    """Open train and val; classes are in the order of the train ids.

    Raises ``FileNotFoundError`` for what is not there and ``ValueError`` naming maps that are missing or wrong.
    """
    parts = parse(reference, "cityscapes_segmentation", ())
    name = f"cityscapes_segmentation:{reference}"
    if parts.part:
        raise ValueError(f"dataset {name!r}: part {parts.part!r}; it has none")
    source = open_source(parts.path, options.places)
    try:
        images = images_of(source.files())
    except ValueError as error:
        raise ValueError(f"dataset {name!r}: {error}") from error
    above = len(next(iter(images)).rpartition("leftImg8bit/")[0])
    items = [
        Item(split, "", image, image[above:], map=annotations_of(image, "labelIds.png"))
        for image, split in images.items()
    ]
    found = Found(name, source, items, CLASSES.classes, parts.path, target="pixels", meaning=CLASSES.meaning)
    return assemble_maps(found, CLASSES.known, options)


DATASETS = {"cityscapes_segmentation": read}
