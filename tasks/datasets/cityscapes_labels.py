"""The labels of Cityscapes: their numbers in the published maps, which are evaluated, and which have instances."""

from collections.abc import Iterable

NUMBERS = {
    name: number
    for number, name in enumerate(
        (
            *("unlabeled", "ego vehicle", "rectification border", "out of roi", "static", "dynamic", "ground", "road"),
            *("sidewalk", "parking", "rail track", "building", "wall", "fence", "guard rail", "bridge", "tunnel"),
            *("pole", "polegroup", "traffic light", "traffic sign", "vegetation", "terrain", "sky", "person", "rider"),
            *("car", "truck", "bus", "caravan", "trailer", "train", "motorcycle", "bicycle"),
        )
    )
}
"""By name; the one label without a number here, ``license plate``, is -1 and is painted nowhere."""
UNPAINTED = "license plate"
EVALUATED = (
    *("road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation"),
    *("terrain", "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle"),
)
"""The 19 classes of the pixel-level task, in the order of their train ids."""
WITH_INSTANCES = ("person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle")
"""The 8 classes of the instance-level task."""
SPLITS = {"train": "train", "val": "test"}
"""The published test has no annotations: val is what is tested on, and a val is carved from train."""
IMAGE_ENDING = "_leftImg8bit.png"


def annotations_of(image: str, ending: str) -> str:
    """The file of ``gtFine`` that belongs to an image.

    >>> annotations_of("leftImg8bit/val/ulm/ulm_000001_000019_leftImg8bit.png", "labelIds.png")
    'gtFine/val/ulm/ulm_000001_000019_gtFine_labelIds.png'
    """
    folder, _, name = image.rpartition("leftImg8bit/")[2].rpartition("/")
    start = image.rpartition("leftImg8bit/")[0]
    return f"{start}gtFine/{folder}/{name.removesuffix(IMAGE_ENDING)}_gtFine_{ending}"


def images_of(files: Iterable[str]) -> dict[str, str]:
    """Images of train and val, by split. Raises ``ValueError`` where there are none."""
    found = {}
    for file in files:
        parts = file.rpartition("leftImg8bit/")
        split = parts[2].partition("/")[0]
        if parts[1] and split in SPLITS and file.endswith(IMAGE_ENDING):
            found[file] = SPLITS[split]
    if not found:
        raise ValueError("no images like leftImg8bit/train/CITY/NAME_leftImg8bit.png")
    return found
