"""The tokens of a vision transformer: timm's own without a mask, and what leaving out and replacing patches does."""

from typing import Any, cast

import pytest
import torch
from torch import Tensor

from backbones.places import Places
from backbones.pretraining.encoder import Encoder, TokenEncoder, encoder_over
from backbones.pretraining.fresh import fresh
from tests.pretraining_fakes import VIT, tiny_encoder

KINDS: dict[str, dict[str, Any]] = {
    "class token": {},
    "registers": {"reg_tokens": 3},
    "registers outside positions": {"reg_tokens": 2, "no_embed_class": True},
    "mean of patches": {"class_token": False, "global_pool": "avg"},
    "mean of patches and class token": {"global_pool": "avg", "fc_norm": False},
    "norms before": {"pre_norm": True, "final_norm": False},
    "pooled by attention": {"class_token": False, "global_pool": "map"},
    "no positions": {"pos_embed": "none"},
    "of one size": {"dynamic_img_size": False},
}


def encoder_of(kwargs: dict[str, Any]) -> TokenEncoder:
    """In evaluation mode, with weights that make every part count (fresh tokens and norms are next to nothing)."""
    encoder = cast(TokenEncoder, tiny_encoder("vit", **kwargs))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
    return encoder.eval()


def images_of(height: int = 32, width: int = 32) -> Tensor:
    return torch.randn(3, 3, height, width, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_mask_tokens_are_timms(kind: str) -> None:
    encoder, images = encoder_of(KINDS[kind]), images_of()
    tokens = encoder.tokens(images, blocks=(0, -1))
    model = cast(Any, encoder.backbone).model
    assert torch.equal(torch.cat([tokens.prefix, tokens.patches], dim=1), model.forward_features(images))
    torch.testing.assert_close(encoder.pooled(tokens), encoder(images), rtol=1e-4, atol=1e-5)
    expected = model.forward_intermediates(images, indices=[0, 2], intermediates_only=True, output_fmt="NLC")
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(tokens.blocks, expected, strict=True))
    assert tokens.prefix.shape[1] == model.num_prefix_tokens


def test_a_distilled_transformer_has_two_tokens_in_front() -> None:
    kwargs = {**VIT, "patch_size": 16}
    encoder = cast(TokenEncoder, encoder_over(fresh("timm:deit_tiny_distilled_patch16_224", kwargs, 32, 0, Places())))
    tokens = encoder.eval().tokens(images_of())
    assert tokens.prefix.shape[1] == 2
    assert torch.equal(encoder.pooled(tokens), encoder(images_of()))


@pytest.mark.parametrize(("height", "width"), [(48, 48), (16, 40), (35, 44)])
def test_images_of_another_size(height: int, width: int) -> None:
    encoder, images = encoder_of({}), images_of(height, width)
    tokens = encoder.tokens(images)
    assert tokens.patches.shape[1] == (height // 8) * (width // 8)
    assert torch.equal(encoder.pooled(tokens), encoder(images))


def test_what_an_encoder_says_of_itself() -> None:
    encoder = encoder_of({"img_size": (32, 32), "depth": 2})
    assert (encoder.patch, encoder.grid, encoder.depth, encoder.width) == (8, (4, 4), 2, 32)
    assert not isinstance(tiny_encoder("cnn"), TokenEncoder)
    assert isinstance(tiny_encoder("cnn"), Encoder)


@pytest.mark.parametrize("kind", ["class token", "registers", "mean of patches"])
def test_patches_kept_in_another_order_are_the_same(kind: str) -> None:
    encoder, images = encoder_of(KINDS[kind]), images_of()
    order = torch.stack([torch.randperm(16, generator=torch.Generator().manual_seed(row)) for row in range(3)])
    whole, shuffled = encoder.tokens(images), encoder.tokens(images, keep=order)
    back = order.argsort(dim=1).unsqueeze(-1).expand_as(whole.patches)
    torch.testing.assert_close(shuffled.patches.gather(1, back), whole.patches, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(shuffled.prefix, whole.prefix, rtol=1e-4, atol=1e-5)


def test_patches_left_out_do_not_count() -> None:
    encoder, images = encoder_of({}), images_of()
    keep = torch.tensor([[3, 0, 9], [5, 6, 7], [15, 1, 2]])
    kept = encoder.tokens(images, keep=keep, blocks=(1,))
    assert kept.patches.shape == (3, 3, 32)
    assert kept.blocks[0].shape == (3, 3, 32)
    other = images.clone()
    other[0, :, 8:16, 8:16] += 5  # patch 5, which the first image leaves out and the second keeps
    other[1, :, 8:16, 8:16] += 5
    changed = encoder.tokens(other, keep=keep, blocks=(1,))
    assert torch.equal(changed.patches[0], kept.patches[0])
    assert not torch.equal(changed.patches[1], kept.patches[1])


def test_a_replaced_patch_keeps_its_position_and_loses_its_pixels() -> None:
    encoder, images = encoder_of({}), images_of()
    replaced, replacement = torch.zeros(3, 16, dtype=torch.bool), torch.randn(32)
    replaced[:, [2, 11]] = True
    tokens = encoder.tokens(images, replaced=replaced, replacement=replacement)
    model = cast(Any, encoder.backbone).model
    embedded = model.patch_embed(images).flatten(1, 2)
    embedded[:, [2, 11]] = replacement
    hidden = torch.cat([model.cls_token.expand(3, -1, -1), embedded], dim=1) + model.pos_embed
    expected = model.norm(model.blocks(hidden))
    torch.testing.assert_close(tokens.patches, expected[:, 1:])
    assert not torch.allclose(tokens.patches[:, 2], tokens.patches[:, 11], atol=1e-2)
    other = images.clone()
    other[:, :, :8, 16:24] += 5  # patch 2
    assert torch.equal(encoder.tokens(other, replaced=replaced, replacement=replacement).patches, tokens.patches)


def test_the_replacement_learns() -> None:
    encoder, replacement = encoder_of({}), torch.zeros(32, requires_grad=True)
    replaced = torch.arange(16).expand(3, -1) % 2 == 0
    encoder.tokens(images_of(), replaced=replaced, replacement=replacement).patches.square().sum().backward()
    assert replacement.grad is not None
    assert float(replacement.grad.abs().sum()) > 0


def test_a_block_that_there_is_not() -> None:
    with pytest.raises(IndexError):
        encoder_of({}).tokens(images_of(), blocks=(3,))


@pytest.mark.parametrize("kind", ["class token", "mean of patches", "pooled by attention"])
def test_a_method_that_never_pools_trains_all_that_is_left(kind: str) -> None:
    encoder = encoder_of(KINDS[kind])
    encoder.freeze_pooling()
    encoder.tokens(images_of()).patches.square().sum().backward()
    trained = [each for _, layer in encoder.layers() for each in layer if each.requires_grad]
    assert trained
    assert all(each.grad is not None for each in trained)
