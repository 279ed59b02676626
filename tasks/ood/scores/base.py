"""What a score of how well an image is known works from, and the contract of one: higher is more in-distribution."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Float32, Float64, Int64

from tasks.classification.probe import Probe
from tasks.features import normalised
from tasks.rows import runs

Values = Float64[np.ndarray, " _"]


@dataclass(frozen=True)
class Head:
    """Logits W f + b of features f as they are stored: a probe's z-scores are folded into W and b."""

    weights: Float32[np.ndarray, "classes dim"]
    intercepts: Float32[np.ndarray, " classes"]

    def __call__(self, features: Float32[np.ndarray, "n dim"]) -> Float32[np.ndarray, "n classes"]:
        return np.asarray(features @ self.weights.T + self.intercepts)


def head_of(probe: Probe) -> Head:
    """W (f - m) s + b is (W s) f + (b - (W s) m); folded in float64, since means can be large."""
    weights = probe.solution.weights[0].numpy().astype(np.float64) * probe.scaling.factor
    intercepts = probe.solution.intercepts[0].numpy() - weights @ probe.scaling.mean
    return Head(weights.astype(np.float32), intercepts.astype(np.float32))


@dataclass(frozen=True)
class Seen:
    """Some images: their features, and what the head and, where there is a text tower, the prompts make of them."""

    features: Float32[np.ndarray, "n dim"]
    head: Head
    prompts: Float32[np.ndarray, "classes dim"] | None = None

    @cached_property
    def logits(self) -> Float32[np.ndarray, "n classes"]:
        """The head's scores of every class."""
        return self.head(self.features)

    @cached_property
    def cosines(self) -> Float32[np.ndarray, "n classes"]:
        """Of the images with each class's prompts."""
        if self.prompts is None:
            raise ValueError("there are no prompts to compare the images with")
        return np.asarray(normalised(self.features) @ self.prompts.T)


@dataclass(frozen=True)
class Learnt:
    """The images the head was fitted to, with their classes."""

    seen: Seen
    labels: Int64[np.ndarray, " n"]

    @property
    def features(self) -> Float32[np.ndarray, "n dim"]:
        """One row an image."""
        return self.seen.features

    @cached_property
    def means(self) -> Float64[np.ndarray, "present dim"]:
        """The mean of each class that has images, in the order of :attr:`places`' numbers."""
        return means_of(self.features, self.places)

    @cached_property
    def places(self) -> Int64[np.ndarray, " n"]:
        """Which row of :attr:`means` is each image's."""
        return np.unique(self.labels, return_inverse=True)[1]


Scorer = Callable[[Seen, Sequence[float]], list[Values]]
"""``scorer(seen, values)``: how well each image is known, for each value of the score's parameter."""


@dataclass(frozen=True)
class Parameter:
    """The one number a score depends on: what its authors use on data like this, and what is tried on held-out sets."""

    name: str
    published: Callable[[Learnt], float]
    tried: Callable[[Learnt], Sequence[float]]


@dataclass(frozen=True)
class Method:
    """A score. ``unfit`` says why it cannot be computed from what was learnt, where it cannot."""

    fit: Callable[[Learnt], Scorer]
    parameter: Parameter | None = None
    unfit: Callable[[Learnt], str | None] = lambda learnt: None


def fitted(fit: Callable[[Learnt], Callable[[Seen], Values]]) -> Method:
    """A score without a parameter, which learns from the images the head was fitted to."""

    def scorer(learnt: Learnt) -> Scorer:
        score = fit(learnt)
        return lambda seen, values: [score(seen)] * len(values)

    return Method(scorer)


def plain(score: Callable[[Seen], Values]) -> Method:
    """A score without a parameter that needs the head alone."""
    return fitted(lambda learnt: score)


def each(score: Callable[[Seen, float], Values]) -> Scorer:
    """A scorer that does a value of the parameter at a time."""
    return lambda seen, values: [score(seen, value) for value in values]


def constant(value: float) -> Callable[[Learnt], float]:
    """What is published for data of every kind."""
    return lambda learnt: value


def means_of(rows: Float[np.ndarray, "n dim"], places: Int64[np.ndarray, " n"]) -> Float64[np.ndarray, "groups dim"]:
    """The mean of the rows of each group; groups are numbered from 0 and none is empty."""
    groups = int(places.max()) + 1
    sums = np.zeros((groups, rows.shape[1]))
    for run in runs(*rows.shape):
        order = np.argsort(places[run], kind="stable")
        present, starts = np.unique(places[run][order], return_index=True)
        sums[present] += np.add.reduceat(rows[run][order], starts, axis=0, dtype=np.float64)
    return sums / np.bincount(places, minlength=groups)[:, None]


def log_sum_exp(logits: Float32[np.ndarray, "n classes"]) -> Values:
    """log sum_k exp(logit_k), in float64; never infinite for finite logits."""
    largest = logits.max(1).astype(np.float64)
    return np.asarray(largest + np.log(np.exp(logits - largest[:, None]).sum(1)))


def by_block(
    function: Callable[[Float32[np.ndarray, "b dim"]], Values], features: Float32[np.ndarray, "n dim"]
) -> Values:
    """``function`` of all rows, a block at a time: what is made on the way stays small."""
    return np.concatenate([function(features[run]) for run in runs(*features.shape)])
