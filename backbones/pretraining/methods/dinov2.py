"""DINOv2's objective (Oquab et al. 2023, arXiv 2304.07193): iBOT's with two heads, and vectors spread by KoLeo.

    s_v = g(f(view_v)), of the two global views with patches masked in blocks;  t_g = g'(f'(view_g)), not masked
    u_g,i, w_g,i: the same of patch i of a global view, by heads h, h' of their own
    p_s = softmax(s / tau_s);  p_t = Sinkhorn(t / tau_t) over the global batch, or softmax((t - c) / tau_t) as DINO's
    L = mean over g and v != g of - sum p_t(t_g) log p_s(s_v)
        + mean over g, and over its masked i, of - sum p_t(w_g,i) log p_s(u_g,i)
        + koleo_weight * sum over g of - mean over images of log |x - x'|, x = f(view_g) / |f(view_g)|, x' the nearest

Deviations: DINO's; each view is masked or not by a draw of its own, where the paper masks exactly half of a batch, with
ratios evenly spread; KoLeo's neighbours are of the global batch, where the paper's are of a device's share; the patch
embedding learns as fast as layer decay says, not at a fifth of that.
"""

from typing import ClassVar, Literal, cast

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from backbones.pretraining.encoder import Encoder, TokenEncoder
from backbones.pretraining.method import Given, Method, MethodFamily, Needs
from backbones.pretraining.parts.balance import Balance
from backbones.pretraining.parts.centre import Centre
from backbones.pretraining.parts.masked_distillation import MaskedDistillation, MaskedSettings
from backbones.pretraining.parts.multi_crop import check_multi_crop, multi_crop
from backbones.pretraining.preset import Preset
from backbones.pretraining.views.settings import ASYMMETRIC_SMALL, ViewGroup
from backbones.training.recipe import Recipe


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class DINOv2(MaskedSettings):
    """``centring``: Sinkhorn's balance, or DINO's centre."""

    family: ClassVar[MethodFamily] = "self-distillation"
    needs: ClassVar[Needs] = "tokens"

    views: tuple[ViewGroup, ...] = multi_crop(boundary=0.32, local_views=8)
    momentum: float = Field(default=0.992, ge=0, le=1)
    centring: Literal["sinkhorn", "centre"] = "sinkhorn"
    koleo_weight: float = Field(default=0.1, ge=0)

    def build(self, encoder: Encoder, given: Given) -> Method:
        """Raises ``ValueError`` for less than two views, or global ones of two sizes."""
        check_multi_crop(self, encoder)
        targets = self._target(), self._target()
        return MaskedDistillation(self, cast(TokenEncoder, encoder), 2, targets, self.koleo_weight)

    def _target(self) -> Centre | Balance:
        return Balance() if self.centring == "sinkhorn" else Centre(self.outputs, self.centre_momentum)


METHODS = {"dinov2": DINOv2}
PRESETS = {
    "dinov2": {
        "cifar": Preset(
            settings=DINOv2(views=ASYMMETRIC_SMALL, outputs=4096),
            recipe=Recipe(
                epochs=200,
                global_batch=256,
                learning_rate=5e-4,
                weight_decay=0.04,
                final_weight_decay=0.4,
                warmup_epochs=10,
                clip_norm=3.0,
            ),
            architecture="timm:vit_tiny_patch16_224",
            kwargs={"patch_size": 4, "img_size": 32},
            size=32,
            source="iBOT's optimiser for a small transformer, without local views; not run here at this length",
        ),
        "imagenet": Preset(
            settings=DINOv2(centring="centre", temperature_epochs=60, frozen_epochs=2),
            recipe=Recipe(
                epochs=200,
                global_batch=2048,
                learning_rate=5.66e-3,
                weight_decay=0.04,
                final_weight_decay=0.4,
                warmup_epochs=20,
                warmup_learning_rate=0.0,
                layer_decay=0.9,
                clip_norm=3.0,
            ),
            architecture="timm:vit_large_patch16_224",
            kwargs={"drop_path_rate": 0.3, "init_values": 1e-5},
            size=224,
            source=(
                "the authors' short one for a ViT-L/16, 125,000 steps at 0.004 * sqrt(batch / 1024), whose heads are "
                "shared; 81.6 kNN and 82.9 linear there; not run here"
            ),
        ),
    }
}
