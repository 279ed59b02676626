"""k-means of unit vectors by their angles, the same on every device and in every run."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn.functional import normalize

CHUNK_SCORES = 2**25
"""Similarities held at once; 128 MiB."""
CANDIDATES = 16
"""Points for each cluster among which the first centroids are sought."""

TRIALS = 4
"""Of how many points the best becomes the next centroid."""


@torch.no_grad()
def spherical_kmeans(
    points: Float[Tensor, "points dim"], clusters: int, iterations: int, seed: int
) -> Float[Tensor, "clusters dim"]:
    """Centroids of unit length that make the sum of every point's cosine with its nearest one large.

    Greedy k-means++ (Arthur & Vassilvitskii 2007), then so many rounds of Lloyd's, in which a cluster without points
    stays where it is. All chance is from ``seed``. Raises ``ValueError`` for fewer points than clusters.
    """
    if len(points) < clusters:
        raise ValueError(f"{clusters} clusters cannot be made of {len(points)} points")
    centroids = _first(points, clusters, torch.Generator(points.device).manual_seed(seed))
    for _ in range(iterations):
        sums = _sums(points, centroids)
        filled = sums.norm(dim=1, keepdim=True) > 0
        centroids = torch.where(filled, normalize(sums, dim=1), centroids)
    return centroids


def nearest(points: Float[Tensor, "points dim"], centroids: Float[Tensor, "clusters dim"]) -> Int64[Tensor, " points"]:
    """The number of the centroid of each point."""
    return torch.cat([(some @ centroids.T).argmax(1) for some in _pieces(points, len(centroids))])


def _first(
    points: Float[Tensor, "points dim"], clusters: int, generator: torch.Generator
) -> Float[Tensor, "clusters dim"]:
    """Points one after the other: of some, drawn by squared distance to those before, the one that lowers it most."""
    order = torch.randperm(len(points), generator=generator, device=points.device)
    some = points[order[: CANDIDATES * clusters]]
    chosen = [some[0]]
    distance = 2 - 2 * some @ chosen[0]
    for _ in range(clusters - 1):
        weights = distance.clamp(min=1e-6)  # rounding can be below 0; and points may all be alike
        drawn = some[torch.multinomial(weights, min(TRIALS, len(some)), generator=generator)]
        distances = torch.minimum(distance[:, None], 2 - 2 * some @ drawn.T)
        best = distances.sum(0).argmin()
        chosen.append(drawn[best])
        distance = distances[:, best]
    return torch.stack(chosen)


def _sums(points: Float[Tensor, "points dim"], centroids: Float[Tensor, "clusters dim"]) -> Tensor:
    """Of the points of each cluster. A product with ones, for adding by index is in random order on a GPU."""
    total = torch.zeros_like(centroids)
    for some in _pieces(points, len(centroids)):
        scores = some @ centroids.T
        near = scores.argmax(1, keepdim=True)
        total += scores.zero_().scatter_(1, near, 1.0).T @ some
    return total


def _pieces(points: Float[Tensor, "points dim"], clusters: int) -> tuple[Tensor, ...]:
    return points.chunk(max(1, -(-len(points) * clusters // CHUNK_SCORES)))
