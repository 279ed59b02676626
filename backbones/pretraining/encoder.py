"""What a method trains: a backbone's trunk, its pooled vectors, its last map, the tokens of a transformer."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from backbones.adapters.maps import whole_patches
from backbones.adapters.timm_models import TimmBackbone, patch_of
from backbones.base import Backbone
from backbones.pretraining.parts.patches import taken


class Encoder(nn.Module):
    """A backbone that is trained in place: no copy, so that whoever handed it over finds it trained."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone
        for parameter in backbone.parameters():
            parameter.requires_grad_(False)
        for _, parameters in backbone.layers():
            for parameter in parameters:
                parameter.requires_grad_(True)
        self.size = backbone.preprocess.size
        self.dim, self.map_dim, self.stride = measure(backbone)

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch dim"]:
        """The backbone's embedding."""
        return self.backbone.embed(images)

    def last_map(
        self, images: Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch channels map_height map_width"]:
        """The coarsest of the backbone's maps. Raises ``NotImplementedError`` where it has none."""
        found = self.backbone.feature_maps(images)
        return found[max(found)]

    def layers(self) -> list[tuple[str, list[nn.Parameter]]]:
        """The backbone's, by depth."""
        return self.backbone.layers()


class Tokens(NamedTuple):
    """Of a vision transformer, after its last norm; ``blocks`` are the patches after the blocks asked for, without it.

    ``prefix`` are the class token and registers, in front in every block, with zero of them where there are none.
    """

    prefix: Float[Tensor, "batch prefixes dim"]
    patches: Float[Tensor, "batch patches dim"]
    blocks: tuple[Float[Tensor, "batch patches dim"], ...]


class TokenEncoder(Encoder):
    """timm's plain vision transformer: patches can be left out or replaced before the first block.

    ``patch`` is a patch's side, ``grid`` how many there are down and across at the encoder's size, ``depth`` how many
    blocks, ``width`` the tokens' dimension.
    """

    def __init__(self, backbone: Backbone) -> None:
        super().__init__(backbone)
        self.patch = int(self._model.patch_embed.patch_size[0])
        self.grid = (self.size[0] // self.patch, self.size[1] // self.patch)
        self.depth = len(self._model.blocks)
        self.width = int(self._model.embed_dim)

    def tokens(
        self,
        images: Float[Tensor, "batch 3 height width"],
        keep: Int64[Tensor, "batch kept"] | None = None,
        replaced: Bool[Tensor, "batch patches"] | None = None,
        replacement: Float[Tensor, " dim"] | None = None,
        blocks: Sequence[int] = (),
    ) -> Tokens:
        """All patches in rows, or those numbered by ``keep`` in its order; where ``replaced``, a patch's embedding is
        ``replacement`` (positions stay). ``blocks`` count from 0; negative ones from the last.

        Raises ``IndexError`` for a block that there is not.
        """
        model, prefixes = self._model, int(self._model.num_prefix_tokens)
        hidden = model._pos_embed(self._embedded(images, replaced, replacement))
        if keep is not None:
            hidden = torch.cat([hidden[:, :prefixes], taken(hidden[:, prefixes:], keep)], dim=1)
        wanted = [range(self.depth)[block] for block in blocks]
        hidden, found = model.norm_pre(hidden), {}
        for number, block in enumerate(model.blocks):
            hidden = block(hidden)
            if number in wanted:
                found[number] = hidden[:, prefixes:]
        hidden = model.norm(hidden)
        return Tokens(hidden[:, :prefixes], hidden[:, prefixes:], tuple(found[number] for number in wanted))

    def norm(self, tokens: Float[Tensor, "batch patches dim"]) -> Float[Tensor, "batch patches dim"]:
        """The transformer's last norm, of what comes out of blocks."""
        normed: Tensor = self._model.norm(tokens)
        return normed

    def pooled(self, tokens: Tokens) -> Float[Tensor, "batch dim"]:
        """The backbone's embedding of an image whose tokens are these."""
        together = torch.cat([tokens.prefix, tokens.patches], dim=1)
        vectors: Tensor = self._model.forward_head(together, pre_logits=True)
        return vectors.flatten(1)

    def freeze_pooling(self) -> None:
        """No gradients for what only :meth:`pooled` uses (a norm after the mean, a pooling by attention).

        For methods that never pool: distributed training refuses trained parameters that take no part.
        """
        for part in (self._model.fc_norm, self._model.attn_pool):
            if part is not None:
                part.requires_grad_(False)

    def check_whole_patches(self) -> None:
        """Raises ``ValueError`` where an encoder's image has pixels beyond its last patch: none could restore them."""
        if any(side % self.patch for side in self.size):
            raise ValueError(
                f"images of {self.size[0]} x {self.size[1]} pixels are not whole patches of {self.patch}: "
                f"give a size that is a multiple of {self.patch}"
            )

    def _embedded(self, images: Tensor, replaced: Tensor | None, replacement: Tensor | None) -> Tensor:
        patches: Tensor = self._model.patch_embed(whole_patches(images, patch_of(self._model)))
        if replaced is None or replacement is None:
            return patches
        return torch.where(replaced.view(*patches.shape[:-1], 1), replacement.to(patches.dtype), patches)

    @property
    def patch_embedding(self) -> nn.Module:
        """What makes tokens of patches, before positions are added."""
        found: nn.Module = self._model.patch_embed
        return found

    @property
    def _model(self) -> Any:
        return self.backbone.model


def encoder_over(backbone: Backbone) -> Encoder:
    """The most that the backbone's architecture allows."""
    plain = isinstance(backbone, TimmBackbone) and isinstance(backbone.model, VisionTransformer)
    return TokenEncoder(backbone) if plain else Encoder(backbone)


@torch.no_grad()
def measure(backbone: Backbone) -> tuple[int, int | None, int | None]:
    """Dimensions of the embedding and, if any, of the coarsest map, and its stride, by one blank image."""
    training = [(module, module.training) for module in backbone.modules()]
    backbone.eval()
    device = next((each.device for each in backbone.parameters()), None)
    blank = torch.zeros(1, 3, *backbone.preprocess.size, device=device)
    dim = int(backbone.embed(blank).shape[1])
    try:
        found = backbone.feature_maps(blank)
    except NotImplementedError:
        found = {}
    for module, mode in training:
        module.training = mode
    if not found:
        return dim, None, None
    return dim, int(found[max(found)].shape[1]), max(found)
