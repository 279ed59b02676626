"""Region detectors: Faster, Mask, Cascade and Cascade Mask R-CNN."""

from functools import partial

from tasks.detection.rcnn.region_detector import OVERLAPS, RegionDetector

DETECTORS = {
    "faster-rcnn": partial(RegionDetector, stages=1, masks=False),
    "mask-rcnn": partial(RegionDetector, stages=1, masks=True),
    "cascade-rcnn": partial(RegionDetector, stages=len(OVERLAPS), masks=False),
    "cascade-mask-rcnn": partial(RegionDetector, stages=len(OVERLAPS), masks=True),
}
