"""Many linear heads on the same features, each with its own learning rate and weight decay, trained together.

Heads do not know of one another: each moves as it would alone under torch's SGD or timm's LARS. But they see the same
batch, so the logits of all of them are one matrix product and all their gradients another, and what is left of a step
is a few operations over everything instead of some dozen a head.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

LOGITS = 2**24
"""Entries of the logits held at once (64 MiB); the rows of a batch that give more are taken in turns."""
FEW_CLASSES = 32
"""Below it classes come before heads in memory: the softmax of 40 heads of 10 classes took 35 us so, 310 us else."""
CACHED = 2**21
"""Weights (8 MiB) of heads stepped together on a CPU, so that a step finds them in its cache: 52 heads of 1,000 classes
and 768 dims took 205 ms a step two at a time and 249 ms all at once; smaller heads all fit."""
TRUST, TINY = 0.001, 1e-8
"""LARS's coefficient (You et al. 2017; 0.001 in the MAE probe), and what timm adds to its denominator."""


@dataclass(frozen=True)
class Head:
    """One linear head of many, taken out."""

    weights: Float[Tensor, "classes dim"]
    bias: Float[Tensor, " classes"]


def at_once(classes: int, dim: int, device: torch.device) -> int:
    """How many heads are best stepped together: on a CPU those that fit its cache, elsewhere any number.

    >>> at_once(1000, 768, torch.device("cpu")), at_once(10, 384, torch.device("cpu"))
    (2, 546)
    """
    return max(1, CACHED // (classes * dim)) if device.type == "cpu" else 2**31


class Heads:
    """As many heads as ``rates``, all starting at ``start`` with a bias of zero.

    SGD is torch's: g + decay w, then momentum, then a step of the learning rate. LARS multiplies g + decay w by
    trust ||w|| / (||g|| + decay ||w||) first, a ratio a head. Biases have neither weight decay nor trust ratio.
    """

    def __init__(
        self,
        start: Float[Tensor, "classes dim"],
        rates: Sequence[float],
        decays: Sequence[float],
        optimiser: Literal["sgd", "lars"],
        momentum: float,
    ) -> None:
        if len(rates) != len(decays):
            raise ValueError(f"every head needs a learning rate and a weight decay; got {len(rates)} and {len(decays)}")
        self.classes, self.count = len(start), len(rates)
        self._classes_first = self.classes < FEW_CLASSES
        self._axis = 1 if self._classes_first else 2  # of the classes
        self._optimiser, self._momentum = optimiser, momentum
        self._weights = self._rows(start.expand(self.count, -1, -1))
        self._bias = torch.zeros_like(self._weights[:, 0])
        self._pushed, self._bias_pushed = torch.zeros_like(self._weights), torch.zeros_like(self._bias)
        self._gradient = torch.empty_like(self._weights) if optimiser == "lars" else self._pushed
        self._rates = self._rows(_a_head(rates, start).expand(-1, self.classes, 1))
        self._decays = self._rows(_a_head(decays, start).expand(-1, self.classes, 1)) if any(decays) else None
        self._decay = _a_head(decays, start).flatten()

    def head(self, index: int) -> Head:
        """A copy of one of them."""
        weights, bias = self._by_head(self._weights)[index], self._by_head(self._bias[:, None])[index, :, 0]
        return Head(weights.clone(), bias.clone())

    def logits(self, features: Float[Tensor, "b dim"]) -> Float[Tensor, "b heads classes"]:
        """Scores of every class by every head."""
        kept = self._kept(torch.addmm(self._bias, features, self._weights.T))
        return kept.transpose(1, 2) if self._classes_first else kept

    @torch.no_grad()
    def step(self, features: Float[Tensor, "b dim"], labels: Int[Tensor, " b"], factor: float) -> None:
        """One step of every head on the mean cross-entropy of a batch, at ``factor`` times its learning rate."""
        kept = self._momentum if self._gradient is self._pushed else 0.0  # of what the buffer held before
        self._bias_pushed.mul_(self._momentum)
        size = max(1, LOGITS // (self.count * self.classes))
        for rows, truth in zip(torch.split(features, size), torch.split(labels, size), strict=True):
            errors = self._errors(rows, truth)
            self._gradient.addmm_(errors.T, rows, beta=kept, alpha=1 / len(labels))
            self._bias_pushed.add_(errors.sum(0), alpha=1 / len(labels))
            kept = 1.0
        if self._optimiser == "lars":
            self._trust()
        elif self._decays is not None:
            self._pushed.addcmul_(self._weights, self._decays)
        self._weights.addcmul_(self._pushed, self._rates, value=-factor)
        self._bias.addcmul_(self._bias_pushed, self._rates[:, 0], value=-factor)

    def _trust(self) -> None:
        """Momentum of (g + decay w) times the head's trust ratio; of 1 where a norm is zero, as timm has it."""
        length, slope = (self._by_head(of).flatten(1).norm(dim=1) for of in (self._weights, self._gradient))
        ratio = torch.where((length > 0) & (slope > 0), TRUST * length / (slope + length * self._decay + TINY), 1.0)
        if self._decays is not None:
            self._gradient.addcmul_(self._weights, self._decays)
        ratios = self._rows(ratio[:, None, None].expand(-1, self.classes, 1))
        self._pushed.mul_(self._momentum).addcmul_(self._gradient, ratios)

    def _errors(self, features: Tensor, labels: Tensor) -> Float[Tensor, "b rows"]:
        """Probability less one for the right class: the gradient of the cross-entropy by the logits."""
        chances = torch.softmax(self._kept(torch.addmm(self._bias, features, self._weights.T)), self._axis)
        shape = list(chances.shape)
        shape[self._axis] = 1
        chances.scatter_add_(self._axis, labels[:, None, None].expand(shape), chances.new_tensor(-1.0).expand(shape))
        return chances.flatten(1)

    def _rows(self, by_head: Float[Tensor, "heads classes width"]) -> Float[Tensor, "rows width"]:
        """A row a head and class, in the order they are kept in."""
        ordered = by_head.transpose(0, 1) if self._classes_first else by_head
        return ordered.flatten(0, 1).clone(memory_format=torch.contiguous_format)

    def _by_head(self, rows: Float[Tensor, "rows width"]) -> Float[Tensor, "heads classes width"]:
        if self._classes_first:
            return rows.view(self.classes, self.count, -1).transpose(0, 1)
        return rows.view(self.count, self.classes, -1)

    def _kept(self, columns: Float[Tensor, "b rows"]) -> Float[Tensor, "b one other"]:
        """Heads and classes on an axis each, in the order they are kept in."""
        shape = (self.classes, self.count) if self._classes_first else (self.count, self.classes)
        return columns.view(-1, *shape)


def _a_head(values: Sequence[float], like: Tensor) -> Float[Tensor, "heads 1 1"]:
    return torch.tensor(values, dtype=like.dtype, device=like.device)[:, None, None]
