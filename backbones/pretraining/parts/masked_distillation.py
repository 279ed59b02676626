"""iBOT and DINOv2: DINO, and the same of the patches that are masked in the student's global views."""

from typing import Annotated, cast

import torch
from jaxtyping import Bool, Float
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from backbones.base import Backbone
from backbones.pretraining.encoder import TokenEncoder
from backbones.pretraining.losses.cross_entropy import between_views, of_masked_patches
from backbones.pretraining.method import Batch, Method, Outputs, Progress
from backbones.pretraining.parts.agreement import agreement
from backbones.pretraining.parts.balance import Balance
from backbones.pretraining.parts.centre import Centre
from backbones.pretraining.parts.dino_head import DinoHead
from backbones.pretraining.parts.koleo import koleo
from backbones.pretraining.parts.masked_views import Seen, drawn_masks, seen
from backbones.pretraining.parts.multi_crop import GLOBALS
from backbones.pretraining.parts.self_distillation import SelfDistillation
from backbones.pretraining.parts.teacher import Teacher
from backbones.training.drop_path import set_drop_path

Share = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class MaskedSettings(SelfDistillation):
    """Of a student's global view, with ``mask_probability``, a share of patches uniform in ``mask_ratio`` is masked."""

    mask_probability: Share = 0.5
    mask_ratio: tuple[Share, Share] = (0.1, 0.5)


class MaskedDistillation(Method):
    """``heads``: of the encoder's vectors, and of patches; a single one is of both. ``targets``: what makes the
    teacher's distributions, of vectors and of patches.

    An image's cross-entropies are found where its views are seen, so with ``whole_batch`` few numbers travel.
    """

    encoder: TokenEncoder

    def __init__(
        self,
        settings: MaskedSettings,
        encoder: TokenEncoder,
        heads: int,
        targets: tuple[Centre | Balance, Centre | Balance],
        koleo_weight: float = 0.0,
    ) -> None:
        super().__init__(encoder)
        self.settings, self.koleo_weight = settings, koleo_weight
        self.whole_batch = koleo_weight > 0 or any(isinstance(each, Balance) for each in targets)
        self.mask_token = nn.Parameter(torch.zeros(encoder.width))
        self.heads = nn.ModuleList(settings.head(encoder.width) for _ in range(heads))
        self.teacher, self.teacher_heads = Teacher(encoder), Teacher(self.heads)
        set_drop_path(self.teacher, 0.0)
        self.targets = nn.ModuleList(targets)

    def represent(self, batch: Batch) -> Outputs:
        """Each image's cross-entropies, and the vectors of its masked global views."""
        masks = self._masks(batch, self.settings.mask_probability)
        mine = seen(self.encoder, batch.views, masks, self.mask_token)
        student = _logits(self.heads, mine)
        teacher = self._teachers(batch, masks)
        with torch.autocast(masks.device.type, enabled=False):
            vectors, patches = self._distributions(student, teacher, batch.progress)
            return {
                "of_vectors": between_views(*vectors),
                "of_patches": of_masked_patches(*patches, masks),
                "vectors": mine.vectors[:, :GLOBALS],
            }

    def loss(self, outputs: Outputs, progress: Progress) -> Float[Tensor, ""]:
        """Both means, and KoLeo of each global view."""
        total = outputs["of_vectors"].mean() + outputs["of_patches"].mean()
        if not self.koleo_weight:
            return total
        return total + self.koleo_weight * torch.stack([koleo(each) for each in outputs["vectors"].unbind(1)]).sum()

    def before_update(self, progress: Progress) -> None:
        """Heads' last layers rest at first."""
        if progress.epoch < self.settings.frozen_epochs:
            for head in self.heads:
                cast(DinoHead, head).last.weight.grad = None

    def after_update(self, progress: Progress) -> None:
        """The teacher and the centres follow."""
        momentum = self.settings.momentum_at(progress)
        self.teacher.follow(self.encoder, momentum)
        self.teacher_heads.follow(self.heads, momentum)
        for target in self.targets:
            cast(Centre | Balance, target).update()

    def published(self) -> Backbone:
        """The teacher's trunk."""
        return cast(Backbone, self.teacher.copy.backbone)

    def watched(self, outputs: Outputs, progress: Progress) -> Outputs:
        """The encoder's vectors of the global views."""
        return {"vectors": outputs["vectors"]}

    @torch.no_grad()
    def health(self, batch: Batch) -> dict[str, float]:
        """Of the two global views, nothing masked: see :func:`agreement`."""
        masks = self._masks(batch, probability=0.0)
        student = _logits(self.heads, seen(self.encoder, batch.views[:GLOBALS], masks))
        vectors, _ = self._distributions(student, self._teachers(batch, masks), batch.progress)
        return agreement(*vectors)

    def _masks(self, batch: Batch, probability: float) -> Bool[Tensor, "batch globals patches"]:
        images = batch.views[0].images
        height, width = (side // self.encoder.patch for side in images.shape[-2:])
        masks = drawn_masks(GLOBALS * len(images), (height, width), probability, self.settings.mask_ratio)
        return masks.view(len(images), GLOBALS, -1).to(images.device)

    @torch.no_grad()
    def _teachers(self, batch: Batch, masks: Bool[Tensor, "batch globals patches"]) -> Seen:
        """Logits of global views in which nothing is replaced."""
        encoder, heads = cast(TokenEncoder, self.teacher.copy), cast(nn.ModuleList, self.teacher_heads.copy)
        return _logits(heads, seen(encoder, batch.views[:GLOBALS], masks))

    def _distributions(
        self, student: Seen, teacher: Seen, progress: Progress
    ) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """Of vectors and of patches: the teacher's, and the logarithms of the student's, as precise as the weights."""
        precision = self.mask_token.dtype
        cold, warm = self.settings.teacher_temperature_at(progress), self.settings.temperature
        vectors, patches = (
            (target(theirs.to(precision), cold), (mine.to(precision) / warm).log_softmax(-1))
            for target, theirs, mine in zip(self.targets, teacher, student, strict=True)
        )
        return vectors, patches


def _logits(heads: nn.ModuleList, tokens: Seen) -> Seen:
    """The first head's of vectors, the last one's of patches."""
    vectors = heads[0](tokens.vectors.flatten(0, 1))
    return Seen(vectors.view(*tokens.vectors.shape[:2], -1), heads[-1](tokens.patches))
