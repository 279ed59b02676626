"""Text features: a list of prompts through a text tower once, then read from the cache, beside the image features."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backbones.base import Backbone, resolve_device
from backbones.feature_cache import Building, FeatureCache, Layout, block_rows, digest
from backbones.feature_checks import check_finite
from backbones.features import ExtractSettings, Progress
from backbones.text_forward import encoder_of, text_features

TEXT_VERSION = 1
"""Part of every key: raise it when a change to the extraction of text changes features."""


@dataclass(frozen=True)
class TextFacts:
    """How one matrix of text features came to be; ``seconds`` are those of the run which computed it."""

    prompts: int
    seconds: float
    warnings: tuple[str, ...]
    from_cache: bool = False


class TextExtractor:
    """Embeds each list of prompts at most once, over all processes that share a cache. ``used``: facts of every call.

    What is cached is the vectors as they come, one a prompt, so that ensembles are the reader's to make.
    """

    def __init__(self, settings: ExtractSettings, progress: Progress | None = None) -> None:
        self.settings, self.progress = settings, progress
        self.cache = FeatureCache(settings.cache / "text")
        self.used: list[TextFacts] = []

    def __call__(self, backbone: Backbone, prompts: Sequence[str]) -> NDArray[np.float32]:
        """The (n, dim) vectors in float32, not normalised.

        Raises ``TypeError`` for a backbone without a text tower, ``ValueError`` where there are no prompts, either
        where outputs break the contract, ``FloatingPointError`` for NaN, ``OSError`` naming what cannot be had.
        """
        encoder_of(backbone)
        if not prompts:
            raise ValueError(f"there are no prompts to embed with {backbone.card.name}")
        made_of = self._made_of(backbone, prompts)
        key = digest(made_of)
        with self.cache.locked(key):
            found = self.cache.open(key)
            if found is None:
                computed = self._compute(key, made_of, backbone, prompts)
                matrix, facts = self.cache.reopened(key)[0], computed
            else:
                matrix, facts = found[0], replace(_facts(found[1]), from_cache=True)
        self.used.append(facts)
        return np.asarray(matrix, dtype=np.float32)

    def _made_of(self, backbone: Backbone, prompts: Sequence[str]) -> dict[str, Any]:
        """All that decides the numbers in a matrix."""
        return {
            "version": TEXT_VERSION,
            "weights": backbone.card.weights_sha256,
            "architecture": backbone.card.architecture,
            "library": backbone.card.source,
            "prompts": digest(list(prompts)),
            "precision": self.settings.precision,
            "storage": self.settings.storage,
        }

    def _compute(self, key: str, made_of: dict[str, Any], backbone: Backbone, prompts: Sequence[str]) -> TextFacts:
        building = self.cache.build(key)
        started = time.perf_counter()
        backbone.to(resolve_device(self.settings.device))
        try:
            self._fill(building, backbone, prompts)
        except (FloatingPointError, TypeError, ValueError):
            self.cache.discard(building)
            raise
        facts = TextFacts(len(prompts), time.perf_counter() - started, _warnings(backbone, prompts))
        self.cache.finish(key, building, made_of, asdict(facts))
        return facts

    def _fill(self, building: Building, backbone: Backbone, prompts: Sequence[str]) -> None:
        """Write every block that is not there yet."""
        rows = block_rows(len(prompts))
        for index, start in enumerate(range(0, len(prompts), rows)):
            if index in building.checksums:
                continue
            part = prompts[start : start + rows]
            with np.errstate(over="ignore"):  # an infinity is reported, with its prompt, by the next line
                stored = text_features(backbone, part, self.settings.precision).astype(self.settings.storage)
            check_finite(stored, part, backbone.card.name, "prompts")
            building.write(Layout(len(prompts), stored.shape[1], stored.dtype.str, rows), index, stored)
            if self.progress is not None:
                self.progress(f"{backbone.card.name} (prompts)", start + len(part), len(prompts))


def _warnings(backbone: Backbone, prompts: Sequence[str]) -> tuple[str, ...]:
    cut = encoder_of(backbone).overlong(prompts)
    if not cut:
        return ()
    line = f"{len(cut)} of {len(prompts)} prompts are longer than {backbone.card.name} reads and lost their ends"
    return (f"{line}, the first: {cut[0]!r}",)


def _facts(kept: dict[str, Any]) -> TextFacts:
    return TextFacts(**{**kept, "warnings": tuple(kept["warnings"])})
