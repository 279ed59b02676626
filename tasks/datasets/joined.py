"""Two parts learnt from together, also where they are splits of their own."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from backbones.images import Images
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


def join(one: Part, other: Part) -> Part:
    """All rows of both. Of one split they go back to their places: who carved them, and how, leaves no trace."""
    same = one.split == other.split
    rows = np.concatenate([one.rows, other.rows if same else other.rows + len(one.images)])
    labels = np.concatenate([one.labels, other.labels])
    targets = groups = None
    if one.targets is not None and other.targets is not None:
        targets = np.concatenate([one.targets, other.targets])
    if one.groups is not None and other.groups is not None:
        groups = (*one.groups, *other.groups)
    if same:
        order = np.argsort(rows)
        rows, labels = rows[order], labels[order]
        targets = None if targets is None else targets[order]
        groups = None if groups is None else tuple(groups[row] for row in order.tolist())
    images = one.images if same else JoinedImages(one.images, other.images)
    return Part(one.split if same else f"{one.split} and {other.split}", images, rows, labels, targets, groups)
