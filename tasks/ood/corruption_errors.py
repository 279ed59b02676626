"""Corruption errors: means over levels, over corruptions, and in units of a reference's errors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from backbones.strict_yaml import read_yaml

CLEAN = "clean"


@cache
def published_errors(name: str) -> Mapping[str, float]:
    """The reference errors of that name, by corruption and ``clean``."""
    errors: dict[str, dict[str, float]] = read_yaml(Path(__file__).with_name("corruption_errors.yaml"))
    return errors[name]


@dataclass(frozen=True)
class ErrorTable:
    """Errors (0 to 1) of named images by split ``FUNCTION/LEVEL``."""

    images: Mapping[str, Sequence[str]]
    errors: Mapping[str, Float64[np.ndarray, " n"]]

    @cached_property
    def levels(self) -> dict[str, list[str]]:
        """The splits of each corruption."""
        found: dict[str, list[str]] = {}
        for split in self.errors:
            found.setdefault(split.partition("/")[0], []).append(split)
        return found

    def mean(self, corruption: str) -> float:
        """The mean over the corruption's levels of the mean error."""
        return float(np.mean([self.errors[split].mean() for split in self.levels[corruption]]))

    def by_image(self, weights: Mapping[str, float]) -> tuple[list[str], Float64[np.ndarray, " images"]]:
        """Images, and a value each; the mean of these is the sum over corruptions of weight times :meth:`mean`.

        What an image is under many corruptions is one draw: an interval over these values is as wide as the number of
        images makes it, not of images times corruptions.

        >>> table = ErrorTable({"fog/1": ["a", "b"], "snow/1": ["a"]}, {"fog/1": np.eye(2)[0], "snow/1": np.ones(1)})
        >>> images, values = table.by_image({"fog": 0.5, "snow": 0.5})
        >>> images, values.tolist(), float(values.mean())
        (['a', 'b'], [1.5, 0.0], 0.75)
        """
        place: dict[str, int] = {}
        rows, values = [], []
        for name, weight in weights.items():
            for split in self.levels[name]:
                rows += [place.setdefault(image, len(place)) for image in self.images[split]]
                values.append(self.errors[split] * (weight / len(self.levels[name]) / len(self.errors[split])))
        return list(place), np.bincount(rows, np.concatenate(values)) * len(place)


def relative_corruption_error(
    table: ErrorTable, names: Sequence[str], clean: float, reference: Mapping[str, float]
) -> float:
    """Relative mCE: the mean of what each corruption adds to the clean error over what it adds to the reference.

    Hendrycks and Dietterich 2019, section 4; their sums over levels are five times the means, which cancels.
    """
    return float(np.mean([(table.mean(name) - clean) / (reference[name] - reference[CLEAN]) for name in names]))
