"""iBOT (Zhou et al. 2022, arXiv 2111.07832): DINO, and masked patches that predict their teacher's outputs.

    s_v = g(f(view_v)), of the two global views with patches masked in blocks;  t_g = g'(f'(view_g)), not masked
    u_g,i, w_g,i: the same of patch i of a global view, by the same heads
    p_s = softmax(s / tau_s);  p_t = softmax((t - c) / tau_t), of patches with a centre of their own;  c as DINO's
    L = mean over g and v != g of - sum p_t(t_g) log p_s(s_v)
        + mean over g, and over its masked i, of - sum p_t(w_g,i) log p_s(u_g,i)

Deviations: DINO's; the centre of patches is of masked ones, where the paper's is of all; masks come from the generator
that is seeded for each micro-batch, so that splitting a step otherwise draws others.
"""

from typing import ClassVar, cast

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from backbones.pretraining.encoder import Encoder, TokenEncoder
from backbones.pretraining.method import Given, Method, MethodFamily, Needs
from backbones.pretraining.parts.centre import Centre
from backbones.pretraining.parts.masked_distillation import MaskedDistillation, MaskedSettings
from backbones.pretraining.parts.multi_crop import check_multi_crop, multi_crop
from backbones.pretraining.preset import Preset
from backbones.pretraining.views.settings import ASYMMETRIC_SMALL, ViewGroup
from backbones.training.recipe import Recipe


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class IBOT(MaskedSettings):
    """The head is shared by class tokens and patches."""

    family: ClassVar[MethodFamily] = "self-distillation"
    needs: ClassVar[Needs] = "tokens"

    views: tuple[ViewGroup, ...] = multi_crop(boundary=0.25, local_views=10)
    outputs: int = 8192

    def build(self, encoder: Encoder, given: Given) -> Method:
        """Raises ``ValueError`` for less than two views, or global ones of two sizes."""
        check_multi_crop(self, encoder)
        targets = Centre(self.outputs, self.centre_momentum), Centre(self.outputs, self.centre_momentum)
        return MaskedDistillation(self, cast(TokenEncoder, encoder), heads=1, targets=targets)


METHODS = {"ibot": IBOT}
PRESETS = {
    "ibot": {
        "cifar": Preset(
            settings=IBOT(views=ASYMMETRIC_SMALL, outputs=4096),
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
            source="the paper's optimiser for a small transformer, without local views; not run here at this length",
        ),
        "imagenet": Preset(
            settings=IBOT(),
            recipe=Recipe(
                epochs=800,
                global_batch=1024,
                learning_rate=2e-3,
                weight_decay=0.04,
                final_weight_decay=0.4,
                warmup_epochs=10,
                warmup_learning_rate=0.0,
                clip_norm=3.0,
            ),
            architecture="timm:vit_small_patch16_224",
            kwargs={"drop_path_rate": 0.1},
            size=224,
            source="the paper's: AdamW at 5e-4 * batch / 256, 75.2 kNN and 77.9 linear there; not run here",
        ),
    }
}
