"""The backbones of one run: loaded by name when needed, kept while they fit."""

from backbones.base import Backbone
from backbones.catalogue import load
from backbones.places import Places

KEEP_PARAMETERS = 500_000_000
"""Loaded backbones are kept up to this many parameters together (2 GB in float32), the oldest leave first."""


class Roster:
    """Loads each backbone once, as far as memory allows, since a plan asks for it when planning and when running."""

    def __init__(self, places: Places) -> None:
        self.places = places
        self._kept: dict[str, Backbone] = {}

    def get(self, name: str) -> Backbone:
        """The backbone of that name; errors are those of :func:`backbones.catalogue.load`."""
        if name not in self._kept:
            self._kept[name] = load(name, self.places)
            while len(self._kept) > 1 and self._parameters() > KEEP_PARAMETERS:
                del self._kept[next(iter(self._kept))]
        return self._kept[name]

    def _parameters(self) -> int:
        return sum(backbone.card.parameters for backbone in self._kept.values())
