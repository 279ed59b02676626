"""The head of DINO and its kin (Caron et al. 2021, arXiv 2104.14294, section 3.1 and appendix C)."""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import linear, normalize


class DinoHead(nn.Module):
    """Logits <b / |b|, v_k / |v_k|> of a bottleneck b, a perceptron of three layers with GELU, and directions v.

    So the last layer is weight-normed with the norm fixed to 1, and logits are cosines. ``last`` holds v.
    """

    def __init__(self, inside: int, outputs: int, hidden: int, bottleneck: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(inside, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, bottleneck)
        )
        for layer in self.layers:
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)
        self.last = nn.Linear(bottleneck, outputs, bias=False)

    def forward(self, vectors: Float[Tensor, "count inside"]) -> Float[Tensor, "count outputs"]:
        """Cosines with all directions."""
        return linear(normalize(self.layers(vectors), dim=1), normalize(self.last.weight, dim=1))
