"""Supervised: the same few labels, batches and steps, and no image without a label.

    L = CE(f(T x), y);  with alpha > 0 of images mixed with their neighbours (mixup, 1710.09412):
    lambda ~ Beta(alpha, alpha), then max(lambda, 1 - lambda), then at least ``least_share``
    L = lambda CE(f(x_mix), y_i) + (1 - lambda) CE(f(x_mix), y_pi(i))

What the other methods are compared with; its settings are those of their labelled parts. Deviations: none.
"""

from jaxtyping import Float32
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from backbones.training.mixing import Mix, mix_images
from tasks.classification.semi_supervised.method import Batch, Method, MethodSettings, Wanted
from tasks.classification.semi_supervised.mixing import mixed_cross_entropy, own_share
from tasks.classification.semi_supervised.perturbation import Perturbation


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Supervised(MethodSettings):
    """``alpha`` 0 mixes nothing."""

    varied: Perturbation = Perturbation(shift=0.125, flip=0.5)
    alpha: float = Field(default=0.0, ge=0)
    least_share: float = Field(default=0.7, ge=0.5, le=1)

    def wanted(self) -> Wanted:
        """One view of the labelled."""
        return Wanted(self.varied, pairs=self.alpha > 0)

    def build(self, network: nn.Module) -> Method:
        """Without state."""
        return _Supervised(self, network)


class _Supervised(Method):
    def __init__(self, settings: Supervised, network: nn.Module) -> None:
        super().__init__(network)
        self.settings = settings

    def loss(self, batch: Batch) -> Float32[Tensor, ""]:
        """Cross-entropy, mixed or not."""
        if self.settings.alpha == 0:
            (logits,) = self.logits(batch.labelled)
            return cross_entropy(logits, batch.labels)
        share = own_share(batch.draws, self.settings.alpha, self.settings.least_share)
        (logits,) = self.logits(mix_images(batch.labelled, Mix(share)))
        return mixed_cross_entropy(logits, batch.labels, share)


METHODS = {"supervised": Supervised}
