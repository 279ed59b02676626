"""An image is its encoded bytes: the source contract, and the one way bytes become RGB."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable


@runtime_checkable
class Images(Protocol):
    """An ordered set of encoded images (JPEG, PNG, ...), whatever holds them."""

    @property
    def identity(self) -> str:
        """Hash of the images' contents in order: the same identity means the same pixels, row by row."""
        ...

    @property
    def names(self) -> Sequence[str]:
        """A name for each image, for messages."""
        ...

    def __len__(self) -> int: ...

    def read(self, index: int) -> bytes:
        """The encoded bytes of one image. May be called from several threads and processes at once."""
        ...
