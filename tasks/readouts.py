"""Which layer, token and pooling a question is asked of: fixed by the plan, or chosen on val within a budget."""

from collections.abc import Callable
from typing import Any, Literal

from numpy.typing import NDArray
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from backbones.base import Backbone, Readable
from backbones.images import Images
from backbones.inference import GEM, Layer
from tasks.base import Extract, Note


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Reading:
    """``readout`` names what is read of the backbone: ``pooled``, its authors' own, another it offers, or ``gem``.

    ``gem``, the generalised mean of its deepest map, is there for every backbone that has maps. It is never tried by
    ``select``.
    """

    readout: str = Field(default="pooled", min_length=1)

    def unreadable(self, backbone: Backbone) -> str | None:
        """Why this backbone cannot be read there, naming where it can; None where it can."""
        choices = (*readouts_of(backbone), GEM)
        if self.readout in choices:
            return None
        return f"{backbone.card.name} has no readout {self.readout!r}; there are: {', '.join(choices)}"

    def reading(self, extract: Extract, readout: str | None = None) -> Extract:
        """``extract`` with this readout (or the one given) in place of ``pooled``."""
        wanted = readout or self.readout

        def read(backbone: Backbone, images: Images, layer: Layer) -> NDArray[Any]:
            return extract(backbone, images, wanted if layer == "pooled" else layer)

        return read


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class ChosenReading(Reading):
    """With ``select: val`` the readout is the best of the first ``trials`` on val, ``readout`` itself among them.

    Every backbone has the same budget; one that offers fewer readouts spends fewer. The first of equals wins.
    """

    select: Literal["none", "val"] = "none"
    trials: int = Field(default=4, ge=1, le=100)

    def candidates(self, backbone: Backbone) -> list[str]:
        """What is tried, in order."""
        if self.select == "none":
            return [self.readout]
        return list(dict.fromkeys([self.readout, *readouts_of(backbone)]))[: self.trials]

    def chosen(
        self, backbone: Backbone, extract: Extract, on_val: Callable[[Extract], float]
    ) -> tuple[Extract, list[Note]]:
        """How to extract, and what the record says of the choice. ``on_val`` scores a readout, higher is better."""
        tried = self.candidates(backbone)
        if len(tried) == 1:
            return self.reading(extract, tried[0]), [Note("readout", tried[0])]
        scores = {readout: on_val(self.reading(extract, readout)) for readout in tried}
        best = max(tried, key=lambda readout: scores[readout])
        told = [
            Note("readout", best),
            Note("readout_trials", len(tried)),
            Note("readout_on_val", scores),
            Note("readout_gain_on_val", scores[best] - scores[self.readout]),
        ]
        return self.reading(extract, best), told


def readouts_of(backbone: Backbone) -> tuple[str, ...]:
    """Every readout of a backbone of its own, ``pooled`` first."""
    return ("pooled", *(backbone.readouts if isinstance(backbone, Readable) else ()))
