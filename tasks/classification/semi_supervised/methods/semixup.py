"""Semixup (Nguyen et al. 2020, arXiv 2003.01944): consistency on the data manifold, off it, and between the two.

    C(a, b) = mean over images and classes of (softmax a - softmax b)^2, gradients to both
    lambda ~ Beta(alpha, alpha), then max(lambda, 1 - lambda), then at least .7 (labelled) or .55 (unlabelled)
    x_mix = lambda x_i + (1 - lambda) x_pi(i);  l_mix the same mix of the logits f(x)
    L_lab = lambda CE(f(x_mix), y_i) + (1 - lambda) CE(f(x_mix), y_pi(i))
    L_unl = 2 C(f(Tx), f(x)) + 4 C(f(x_mix), l_mix) + 2 C(f(x_mix), f(Tx)) + 2 C(f(x), f(x_mix))
    L = L_lab + L_unl;  images with labels are among those without

Deviations: any backbone in place of the paper's own network, normalised as its weights want; the lambdas are drawn once
a step, and pi exchanges neighbours of the (shuffled) batch; labelled images are varied by T before they are mixed; what
T moves in is the image's reflection, and its noise has a deviation of up to its gain. By default T mirrors nothing.
"""

from jaxtyping import Float32
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from backbones.training.mixing import Mix, mix_images, mix_targets
from tasks.classification.semi_supervised.consistency import consistency
from tasks.classification.semi_supervised.method import Batch, Method, MethodSettings, Wanted
from tasks.classification.semi_supervised.mixing import mixed_cross_entropy, own_share
from tasks.classification.semi_supervised.perturbation import Perturbation


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Semixup(MethodSettings):
    """``varied`` is T. The weights are those of L_unl: f(Tx) and f(x); f(x_mix) and l_mix; f(x_mix) and either."""

    varied: Perturbation = Perturbation(
        noise=0.5, gain=0.3, rotation=10.0, shift=0.05, gamma_share=0.5, gamma=(0.5, 1.5)
    )
    alpha: float = Field(default=0.75, gt=0)
    least_labelled_share: float = Field(default=0.7, ge=0.5, le=1)
    least_unlabelled_share: float = Field(default=0.55, ge=0.5, le=1)
    in_manifold_weight: float = Field(default=2.0, ge=0)
    interpolation_weight: float = Field(default=4.0, ge=0)
    out_of_manifold_weight: float = Field(default=2.0, ge=0)
    ratio: int = Field(default=1, ge=1)

    def wanted(self) -> Wanted:
        """Unlabelled images as they are evaluated, and varied."""
        return Wanted(self.varied, (Perturbation(), self.varied), self.ratio, pairs=True)

    def build(self, network: nn.Module) -> Method:
        """Without state."""
        return _Semixup(self, network)


class _Semixup(Method):
    def __init__(self, settings: Semixup, network: nn.Module) -> None:
        super().__init__(network)
        self.settings = settings

    def loss(self, batch: Batch) -> Float32[Tensor, ""]:
        """L_lab + L_unl, all images in one pass."""
        settings, (plain, varied) = self.settings, batch.unlabelled
        share = own_share(batch.draws, settings.alpha, settings.least_labelled_share)
        mix = Mix(own_share(batch.draws, settings.alpha, settings.least_unlabelled_share))
        of_labelled, of_plain, of_varied, of_mixed = self.logits(
            mix_images(batch.labelled, Mix(share)), plain, varied, mix_images(plain, mix)
        )
        return (
            mixed_cross_entropy(of_labelled, batch.labels, share)
            + settings.in_manifold_weight * consistency(of_varied, of_plain)
            + settings.interpolation_weight * consistency(of_mixed, mix_targets(of_plain, mix))
            + settings.out_of_manifold_weight * consistency(of_mixed, of_varied)
            + settings.out_of_manifold_weight * consistency(of_plain, of_mixed)
        )


METHODS = {"semixup": Semixup}
