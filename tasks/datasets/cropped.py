"""Images cut out of others, as files of their own: decoded, cut, and encoded again without loss."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from backbones.images import PIXEL_CAP, UnreadableImage, decode, to_pil
from tasks.datasets.lossless_png import encode_png
from tasks.datasets.sources import Source

Box = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels; right and bottom are the first that are outside."""


@dataclass(frozen=True)
class CroppedFiles:
    """The files of ``source``, and beside them ``crops``: a new name, the file it is cut from, and where.

    Where a box reaches beyond its image the crop is black.
    """

    source: Source
    crops: Mapping[str, tuple[str, Box]] = field(repr=False)

    @property
    def location(self) -> str:
        """That of the source."""
        return self.source.location

    def files(self) -> Sequence[str]:
        """The source's files and the crops, sorted."""
        return sorted([*self.source.files(), *self.crops])

    def folders(self) -> Sequence[str]:
        """The source's folders."""
        return self.source.folders()

    def stamp(self, name: str) -> str:
        """Changes with the file that is cut, and with the box."""
        if name not in self.crops:
            return self.source.stamp(name)
        file, box = self.crops[name]
        stamp = self.source.stamp(file)
        return ":".join([stamp, *map(str, box)]) if stamp else ""

    def read(self, name: str) -> bytes:
        """The file's bytes, or those of a PNG that holds the crop. Raises ``UnreadableImage`` for a box of nothing."""
        if name not in self.crops:
            return self.source.read(name)
        file, box = self.crops[name]
        image = to_pil(decode(self.source.read(file)))
        left, top, right, bottom = box
        if not (left < min(right, image.width) and top < min(bottom, image.height) and right > 0 and bottom > 0):
            raise UnreadableImage(f"cannot be cut at {box}: nothing of its {image.width} x {image.height} is in there")
        if (right - left) * (bottom - top) > PIXEL_CAP:
            raise UnreadableImage(f"cannot be cut at {box}: at most {PIXEL_CAP:,} pixels are")
        return encode_png(np.array(image.crop(box)))
