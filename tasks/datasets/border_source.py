"""Images without their border: what a source holds, cropped before anybody sees it."""

from collections.abc import Sequence
from dataclasses import dataclass

from backbones.images import decode
from tasks.datasets.lossless_png import encode_png
from tasks.datasets.sources import Source, printable


@dataclass(frozen=True)
class WithoutBorder:
    """The files of ``source`` with ``border`` pixels taken off each side, as PNG: no pixel that is left changes."""

    source: Source
    border: int

    @property
    def location(self) -> str:
        """Not the source's own, since contents are remembered by it."""
        return f"{self.source.location} without a border of {self.border}"

    def files(self) -> Sequence[str]:
        """The source's."""
        return self.source.files()

    def folders(self) -> Sequence[str]:
        """The source's."""
        return self.source.folders()

    def stamp(self, name: str) -> str:
        """The source's."""
        return self.source.stamp(name)

    def read(self, name: str) -> bytes:
        """The cropped image. Raises ``ValueError`` for one that is no image, or all border."""
        pixels = decode(self.source.read(name))
        height, width = pixels.shape[1:]
        if min(height, width) <= 2 * self.border:
            raise ValueError(f"{printable(name)} is {width} x {height}, all of it border")
        inside = pixels[:, self.border : height - self.border, self.border : width - self.border]
        return encode_png(inside.permute(1, 2, 0).contiguous().numpy())
