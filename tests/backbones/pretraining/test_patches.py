"""Patches, masks, positions and the light decoder that methods of masked images share."""

import math
from typing import cast

import pytest
import torch

from backbones.pretraining.encoder import TokenEncoder
from backbones.pretraining.parts.decoder import PatchDecoder
from backbones.pretraining.parts.patches import (
    numbers_of,
    patchify,
    plain_layer_norm,
    standardised,
    taken,
    unpatchify,
)
from backbones.pretraining.parts.positions import sine_positions
from backbones.pretraining.parts.random_masks import random_masks, random_unit_masks
from tests.pretraining_fakes import tiny_encoder


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_patch_is_where_it_was_in_the_image() -> None:
    images = torch.randn(2, 3, 8, 12, generator=generator())
    patches = patchify(images, 4)
    assert patches.shape == (2, 6, 48)
    assert torch.equal(patches[1, 4], images[1, :, 4:8, 4:8].permute(1, 2, 0).flatten())  # row 1, column 1 of 2 x 3
    assert torch.equal(unpatchify(patches, 4, (2, 3)), images)


def test_patches_are_lightlys() -> None:
    oracle = pytest.importorskip("lightly.models.utils")
    images = torch.randn(2, 3, 16, 16, generator=generator())
    patches = patchify(images, 4)
    assert torch.equal(patches, oracle.patchify(images, 4))
    assert torch.equal(unpatchify(patches, 4, (4, 4)), oracle.unpatchify(patches, 4))
    torch.testing.assert_close(standardised(patches), oracle.normalize_mean_var(patches))


def test_standardised_patches_in_closed_form() -> None:
    patches = torch.tensor([[[1.0, 3.0], [5.0, 5.0]]], dtype=torch.float64)
    half = 1 / math.sqrt(2 + 1e-6)
    assert standardised(patches).tolist() == [[[pytest.approx(-half), pytest.approx(half)], [0, 0]]]


def test_plain_layer_norm_in_closed_form() -> None:
    normed = plain_layer_norm(torch.tensor([[[1.0, 3.0]]], dtype=torch.bfloat16))
    assert normed.dtype == torch.float32
    assert normed.tolist() == [[[pytest.approx(-1, abs=1e-4), pytest.approx(1, abs=1e-4)]]]


def test_what_is_taken_out_and_put_back_is_the_same() -> None:
    tokens = torch.randn(3, 16, 5, generator=generator())
    masks = random_masks(3, 16, 0.75, generator())
    seen, hidden = numbers_of(~masks), numbers_of(masks)
    order = torch.cat([seen, hidden], dim=1)
    assert torch.equal(taken(taken(tokens, order), order.argsort(dim=1)), tokens)
    assert torch.equal(
        taken(tokens, seen), torch.stack([each[~mask] for each, mask in zip(tokens, masks, strict=True)])
    )


@pytest.mark.parametrize(
    ("places", "share", "marked"), [(196, 0.75, 147), (64, 0.75, 48), (9, 0.75, 7), (100, 0.55, 55), (49, 0.6, 30)]
)
def test_every_image_has_as_many_marked(places: int, share: float, marked: int) -> None:
    masks = random_masks(20, places, share, generator())
    assert masks.sum(dim=1).tolist() == [marked] * 20
    assert places - marked == math.floor((1 - share) * places + 1e-9)


def test_every_place_is_marked_as_often_and_alone() -> None:
    """Over 4,000 draws of 12 of 16: a place's rate within five standard errors, and pairs as without replacement."""
    masks = random_masks(4000, 16, 0.75, generator()).double()
    assert masks.mean(dim=0).sub(0.75).abs().max() < 5 * math.sqrt(0.75 * 0.25 / 4000)
    pairs = (masks.T @ masks / 4000)[~torch.eye(16, dtype=torch.bool)]
    expected = 12 * 11 / (16 * 15)
    assert pairs.sub(expected).abs().max() < 5 * math.sqrt(expected * (1 - expected) / 4000)
    assert len(masks.unique(dim=0)) > 1000


def test_units_are_aligned_squares() -> None:
    masks = random_unit_masks(50, (8, 8), 2, 0.6, generator()).view(50, 4, 2, 4, 2)
    squares = masks[:, :, 0, :, 0]
    assert torch.equal(masks, squares[:, :, None, :, None].expand_as(masks))
    assert squares.flatten(1).sum(dim=1).tolist() == [10] * 50
    assert squares.float().mean(dim=0).sub(10 / 16).abs().max() < 5 * math.sqrt(0.25 / 50)


def test_units_that_do_not_tile_are_refused() -> None:
    with pytest.raises(ValueError, match="units of 3 patches a side do not tile a grid of 8 x 6"):
        random_unit_masks(1, (8, 6), 3, 0.6, generator())


def test_positions_are_lightlys() -> None:
    oracle = pytest.importorskip("lightly.models.utils").get_2d_sine_cosine_positional_embedding
    expected = torch.from_numpy(oracle(embed_dim=24, grid_size=5, cls_token=False)).float()
    torch.testing.assert_close(sine_positions((5, 5), 24), expected, rtol=1e-4, atol=1e-5)


def test_positions_of_a_grid_that_is_no_square() -> None:
    found = sine_positions((2, 3), 8)
    row, column = 1, 2
    angles = [column, column / 100, row, row / 100]
    expected = [math.sin(angles[0]), math.sin(angles[1]), math.cos(angles[0]), math.cos(angles[1])]
    expected += [math.sin(angles[2]), math.sin(angles[3]), math.cos(angles[2]), math.cos(angles[3])]
    assert found[5].tolist() == pytest.approx(expected, abs=1e-6)
    with pytest.raises(ValueError, match="a width that 4 divides, not 6"):
        sine_positions((2, 3), 6)


def test_a_decoder_answers_by_position() -> None:
    """The order of what is known does not matter, that of the questions is that of the answers."""
    torch.manual_seed(0)
    decoder = PatchDecoder(6, 8, 2, 2, (3, 3), 5)
    prefix, tokens = torch.randn(2, 1, 6), torch.randn(2, 4, 6)
    at, wanted = torch.tensor([[0, 3, 5, 8], [1, 2, 4, 6]]), torch.tensor([[1, 2, 7], [0, 3, 8]])
    answers = decoder(prefix, tokens, at, wanted)
    assert answers.shape == (2, 3, 5)
    torch.testing.assert_close(decoder(prefix, tokens.flip(1), at.flip(1), wanted), answers)
    torch.testing.assert_close(decoder(prefix, tokens, at, wanted.flip(1)), answers.flip(1))
    assert not torch.allclose(answers[:, 0], answers[:, 1], atol=1e-6)
    assert not torch.allclose(decoder(prefix, tokens, at.flip(1), wanted), answers, atol=1e-6)
    assert not torch.allclose(decoder(prefix + torch.randn(6), tokens, at, wanted), answers, atol=1e-6)


def test_a_decoder_of_heads_that_do_not_divide_its_width() -> None:
    with pytest.raises(ValueError, match="a decoder of width 8 does not divide into 3 heads"):
        PatchDecoder(6, 8, 1, 3, (3, 3), 5)


def test_images_that_are_not_whole_patches() -> None:
    with pytest.raises(ValueError, match="images of 32 x 32 pixels are not whole patches of 5"):
        cast(TokenEncoder, tiny_encoder("vit", patch_size=5)).check_whole_patches()
