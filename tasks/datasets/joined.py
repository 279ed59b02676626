"""Images of several sources as one, some images of a source, and two parts learnt from together."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from backbones.images import Images
from tasks.datasets.label_maps import LabelMaps
from tasks.datasets.partition import Part


@dataclass(frozen=True)
class JoinedImages:
    """The images of one source, then those of another."""

    first: Images
    second: Images

    @cached_property
    def identity(self) -> str:
        """SHA-256 over both identities."""
        return hashlib.sha256(f"{self.first.identity}\n{self.second.identity}".encode()).hexdigest()

    @cached_property
    def names(self) -> Sequence[str]:
        """Names, in the same order."""
        return (*self.first.names, *self.second.names)

    def __len__(self) -> int:
        return len(self.first) + len(self.second)

    def read(self, index: int) -> bytes:
        """The encoded bytes of one image."""
        here = len(self.first)
        return self.first.read(index) if index < here else self.second.read(index - here)


@dataclass(frozen=True)
class SomeImages:
    """The images of a source in these rows, in that order."""

    inner: Images
    rows: tuple[int, ...]

    @cached_property
    def identity(self) -> str:
        """SHA-256 over the source's identity and the rows."""
        return hashlib.sha256(f"{self.inner.identity}\n{self.rows}".encode()).hexdigest()

    @cached_property
    def names(self) -> Sequence[str]:
        """Their own names."""
        return tuple(self.inner.names[row] for row in self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, index: int) -> bytes:
        """The encoded bytes of one image."""
        return self.inner.read(self.rows[index])


def join(one: Part, other: Part) -> Part:
    """All rows of both. Of one split they go back to their places: who carved them, and how, leaves no trace.

    Raises ``ValueError`` where the values of their maps mean different things.
    """
    same = one.split == other.split
    both = Part(
        one.split if same else f"{one.split} and {other.split}",
        one.images if same else JoinedImages(one.images, other.images),
        np.concatenate([one.rows, other.rows if same else other.rows + len(one.images)]),
        np.concatenate([one.labels, other.labels]),
        None if one.targets is None or other.targets is None else np.concatenate([one.targets, other.targets]),
        None if one.groups is None or other.groups is None else (*one.groups, *other.groups),
        None if one.objects is None or other.objects is None else (*one.objects, *other.objects),
        one.maps if same else _joined_maps(one.maps, other.maps),
    )
    return both.only(np.argsort(both.rows)) if same else both


def _joined_maps(one: LabelMaps | None, other: LabelMaps | None) -> LabelMaps | None:
    if one is None or other is None:
        return None
    if not np.array_equal(one.meaning, other.meaning):
        raise ValueError("the values of two sets of maps mean different things")
    return LabelMaps(JoinedImages(one.images, other.images), one.meaning)
