"""DINO's head answers with cosines: no scale of the bottleneck or of the last layer shows."""

import torch

from backbones.pretraining.parts.dino_head import DinoHead


def _head() -> DinoHead:
    torch.manual_seed(0)
    return DinoHead(6, outputs=9, hidden=12, bottleneck=4).double()


def test_by_hand() -> None:
    head, vectors = _head(), torch.randn(5, 6, dtype=torch.float64)
    first, _, second, _, third = head.layers
    hidden = torch.nn.functional.gelu(second(torch.nn.functional.gelu(first(vectors))))
    for row, bottleneck in zip(head(vectors), third(hidden), strict=True):
        for logit, direction in zip(row, head.last.weight, strict=True):
            cosine = (bottleneck @ direction) / (bottleneck.norm() * direction.norm())
            assert torch.allclose(logit, cosine, atol=1e-12)


def test_the_last_layers_norm_is_one_whatever_its_weights() -> None:
    head, vectors = _head(), torch.randn(5, 6, dtype=torch.float64)
    before = head(vectors)
    with torch.no_grad():
        head.last.weight.mul_(torch.linspace(0.1, 7, 9, dtype=torch.float64)[:, None])
    assert torch.allclose(head(vectors), before, atol=1e-12)


def test_no_vectors_have_no_logits() -> None:
    assert _head()(torch.zeros(0, 6, dtype=torch.float64)).shape == (0, 9)
