"""What detectors are measured by: COCO's and LVIS's metrics, intervals over images, what kinds of errors there are."""
