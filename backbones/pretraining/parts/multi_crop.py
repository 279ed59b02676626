"""Views of two scales: a teacher sees two global ones, its student also small local ones."""

from dataclasses import replace

from backbones.pretraining.encoder import Encoder
from backbones.pretraining.method import MethodSettings
from backbones.pretraining.views.settings import ASYMMETRIC, ViewGroup, colour

GLOBALS = 2
"""Views of the teacher; the first ones."""


def multi_crop(boundary: float, local_views: int) -> tuple[ViewGroup, ...]:
    """DINO's for images of ImageNet's size: BYOL's two views of ``boundary`` to the whole of an image's area, then
    ``local_views`` of 0.05 to ``boundary`` of it, of 96 pixels.
    """
    large = tuple(replace(group, crop_scale=(boundary, 1.0)) for group in ASYMMETRIC)
    distorted = colour(0.5, saturation=0.4)
    return (*large, ViewGroup(count=local_views, size=96, crop_scale=(0.05, boundary), blur=0.5, **distorted))


def check_multi_crop(settings: MethodSettings, encoder: Encoder) -> None:
    """Raises ``ValueError`` for less than two views, and for global ones of two sizes."""
    name = type(settings).__name__
    sizes = [group.size or encoder.size[0] for group in settings.views for _ in range(group.count)]
    if len(sizes) < GLOBALS:
        raise ValueError(f"{name} takes {GLOBALS} global views and then local ones, and its groups make {len(sizes)}")
    if len(set(sizes[:GLOBALS])) > 1:
        raise ValueError(f"{name}: its first two views are the global ones and of one size, not {sizes[:GLOBALS]}")
