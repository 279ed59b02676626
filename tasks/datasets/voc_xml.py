"""One image's objects in Pascal VOC's XML.

Its pixels are numbered from 1, and a box names the first and the last pixel in it; here that is ``left = xmin - 1`` and
``right = xmax``, so that a box from 1 to 10 is ten pixels wide. Sets that number from 0 are off by one pixel, which the
checks let pass. A box that begins where it ends was clicked and not drawn: it counts as one without width or height.
"""

from typing import NamedTuple
from xml.etree.ElementTree import Element

from tasks.datasets.annotated_images import NO_BOX, Row
from tasks.datasets.safe_xml import parse_xml


class VocImage(NamedTuple):
    """The objects, and the (height, width) the file gives the image; None where it gives none (or zeros)."""

    rows: tuple[Row, ...]
    size: tuple[int, int] | None


def read_voc_xml(data: bytes) -> VocImage:
    """What the XML says. Raises ``ValueError`` for what is none of VOC's; a box that is none has NaN for numbers."""
    root = parse_xml(data)
    if root.tag != "annotation":
        raise ValueError(f"is XML of <{root.tag}>, and no <annotation>")
    return VocImage(tuple(_row(each, place) for place, each in enumerate(root.findall("object"), 1)), _size(root))


def _row(element: Element, place: int) -> Row:
    name = (element.findtext("name") or "").strip()
    if not name:
        raise ValueError(f"object {place} has no name")
    return Row(_box(element.find("bndbox")), name, crowd=(element.findtext("difficult") or "0").strip() == "1")


def _box(element: Element | None) -> tuple[float, float, float, float]:
    if element is None:
        return NO_BOX
    try:
        first_column, first_row, last_column, last_row = (
            float(element.findtext(side) or "") for side in ("xmin", "ymin", "xmax", "ymax")
        )
    except ValueError:
        return NO_BOX
    left, top = first_column - 1, first_row - 1
    return left, top, last_column if last_column > first_column else left, last_row if last_row > first_row else top


def _size(root: Element) -> tuple[int, int] | None:
    height, width = ((root.findtext(f"size/{side}") or "").strip() for side in ("height", "width"))
    return (int(height), int(width)) if height.isdecimal() and width.isdecimal() and int(height) * int(width) else None
