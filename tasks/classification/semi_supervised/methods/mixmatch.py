"""MixMatch (Berthelot et al. 2019, arXiv 1905.02249): guesses of several views, sharpened, and everything mixed.

    q = sharpen(mean over K views of softmax f(u^k)), without gradient;  sharpen(q)_c = q_c^(1/T) / sum q^(1/T)
    X = {(x, y)}, U = {(u^k, q)} for every k;  W = X and U shuffled;  lambda = max(l, 1 - l), l ~ Beta(alpha, alpha)
    X' = lambda X + (1 - lambda) W_1..|X|,  U' = lambda U + (1 - lambda) W_|X|+1..,  images and targets alike
    L = mean over X' of CE(f(x'), p') + lambda_u(t) mean over U' and classes of (q' - softmax f(u'))^2

lambda_u grows in a line from 0 over the ramp-up. Deviations: W is shuffled within every two items (two labelled images
and their companions), so that no cut of a batch decides who is mixed with whom; lambda is drawn once a step; the
ramp-up is a share of the training; the paper's average of the weights (.999) is the recipe's ``average_decay``.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Float32
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

from backbones.pretraining.method import Progress
from backbones.pretraining.parts.schedules import linear
from tasks.classification.semi_supervised.method import Batch, Method, MethodSettings, Wanted
from tasks.classification.semi_supervised.mixing import own_share
from tasks.classification.semi_supervised.perturbation import Perturbation


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class MixMatch(MethodSettings):
    """``guesses`` is K; ``ramp_up`` a share of the training's steps; ``weight`` what lambda_u grows to."""

    varied: Perturbation = Perturbation(shift=0.125, flip=0.5)
    guesses: int = Field(default=2, ge=1)
    temperature: float = Field(default=0.5, gt=0)
    alpha: float = Field(default=0.75, gt=0)
    weight: float = Field(default=75.0, ge=0)
    ramp_up: float = Field(default=0.25, ge=0, le=1)
    ratio: int = Field(default=1, ge=1)

    def wanted(self) -> Wanted:
        """K views of the unlabelled."""
        return Wanted(self.varied, (self.varied,) * self.guesses, self.ratio, pairs=True)

    def build(self, network: nn.Module) -> Method:
        """Without state."""
        return _MixMatch(self, network)

    def weight_at(self, progress: Progress) -> float:
        """lambda_u of the step under way."""
        if not self.ramp_up:
            return self.weight
        return linear(0.0, self.weight, progress.step / (self.ramp_up * progress.total))


class _MixMatch(Method):
    def __init__(self, settings: MixMatch, network: nn.Module) -> None:
        super().__init__(network)
        self.settings = settings

    def loss(self, batch: Batch) -> Float32[Tensor, ""]:
        """What is mixed goes through the network in one pass."""
        with torch.no_grad():
            guess = sharpened(averaged(self.logits(*batch.unlabelled)), self.settings.temperature)
        labels = one_hot(batch.labels, guess.shape[1]).to(guess.dtype)
        images = by_pair([batch.labelled, *batch.unlabelled])
        targets = by_pair([labels, *[guess] * self.settings.guesses])
        share, order = own_share(batch.draws, self.settings.alpha), batch.draws.permutation(images.shape[1])
        mixed, wanted = (torch.lerp(of[:, order], of, share).flatten(0, 1) for of in (images, targets))
        (answered,) = self.logits(mixed.contiguous(memory_format=torch.channels_last))
        labelled = (torch.arange(images.shape[1], device=answered.device) < 2).repeat(len(images))
        guessed = (wanted[~labelled] - answered[~labelled].softmax(1)).square().mean()
        weight = self.settings.weight_at(batch.progress)
        return cross_entropy(answered[labelled], wanted[labelled]) + weight * guessed


def averaged(logits: Sequence[Float32[Tensor, "images classes"]]) -> Float32[Tensor, "images classes"]:
    """The mean of the views' probabilities."""
    return torch.stack([each.softmax(1) for each in logits]).mean(0)


def sharpened(probabilities: Float[Tensor, "images classes"], temperature: float) -> Float[Tensor, "images classes"]:
    """q_c^(1/T) / sum q^(1/T)."""
    raised = probabilities ** (1 / temperature)
    return raised / raised.sum(1, keepdim=True)


def by_pair(groups: Sequence[Float[Tensor, "_ ..."]]) -> Float[Tensor, "pairs entries ..."]:
    """A row for every two items: their two labelled entries, then all of their companions'.

    >>> by_pair([torch.tensor([0.0, 1, 2, 3]), torch.tensor([10.0, 11, 12, 13])]).tolist()
    [[0.0, 1.0, 10.0, 11.0], [2.0, 3.0, 12.0, 13.0]]
    """
    pairs = len(groups[0]) // 2
    return torch.cat([group.reshape(pairs, -1, *group.shape[1:]) for group in groups], dim=1)


METHODS = {"mixmatch": MixMatch}
