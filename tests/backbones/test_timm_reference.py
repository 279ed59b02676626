"""timm's own dense output of a full pass, which the adapter's maps are held against, for each way timm gives it."""

from typing import Any

import pytest
import timm
import torch

from backbones.adapters.timm_models import last_maps
from backbones.adapters.timm_reference import dense_path

SWIN = {"embed_dim": 24, "depths": (1, 1, 1, 1), "num_heads": (1, 2, 3, 4)}
SMALL: dict[str, dict[str, Any]] = {
    "test_vit": {},
    "test_vit3": {},  # pooled by attention
    "beit_base_patch16_224": {"embed_dim": 32, "depth": 2, "num_heads": 2},
    "eva02_tiny_patch14_224": {"embed_dim": 32, "depth": 2, "num_heads": 2},
    "samvit_base_patch16": {  # with a neck, which the smaller one has not
        "embed_dim": 32,
        "depth": 2,
        "num_heads": 2,
        "global_attn_indexes": (1,),
        "img_size": 224,
    },
    "swin_tiny_patch4_window7_224": SWIN,
    "swinv2_tiny_window8_256": SWIN,
    "sam2_hiera_tiny": {"embed_dim": 16, "num_heads": 1},
    "test_resnet": {},
}


@pytest.mark.parametrize("name", SMALL)
@torch.no_grad()
def test_maps_are_those_of_a_full_pass(name: str) -> None:
    torch.manual_seed(0)
    model = timm.create_model(name, **SMALL[name]).eval()
    for parameter in model.parameters():  # a final norm that does nothing would hide its absence
        torch.nn.init.normal_(parameter, std=0.05) if parameter.ndim < 2 else None
    side = SMALL[name].get("img_size", model.pretrained_cfg["input_size"][-1])
    images = torch.randn(1, 3, side, side)
    upstream = dense_path(model)
    assert upstream is not None
    expected, found = upstream(images), last_maps(model, images, name)
    assert set(expected) == set(found)
    for stride, features in found.items():
        torch.testing.assert_close(features, expected[stride], rtol=1e-5, atol=1e-5)


def test_tokens_in_an_order_of_their_own_are_no_map() -> None:
    assert dense_path(timm.create_model("hiera_tiny_224", embed_dim=16, num_heads=1)) is None
