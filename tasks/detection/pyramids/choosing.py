"""Which pyramid a backbone gets: its strides alone say."""

from collections.abc import Mapping

from tasks.detection.pyramids.feature_pyramid import FeaturePyramid
from tasks.detection.pyramids.pyramid import COARSEST, Pyramid
from tasks.detection.pyramids.simple_feature_pyramid import FINEST, SimpleFeaturePyramid


def pyramid_over(widths: Mapping[int, int], channels: int) -> Pyramid:
    """Over maps with these channels by stride, in levels of ``channels``.

    FPN over those of strides 4 to 64 where there are several (five, where a diffusion model has stride 64), else the
    simple pyramid of the one in that range, or of the nearest to it.
    """
    usual = {stride: widths[stride] for stride in sorted(widths) if FINEST <= stride <= COARSEST}
    if len(usual) > 1:
        return FeaturePyramid(usual, channels)
    stride = next(iter(usual), None) or min(widths, key=lambda each: max(FINEST / each, each / COARSEST))
    return SimpleFeaturePyramid(stride, widths[stride], channels)
