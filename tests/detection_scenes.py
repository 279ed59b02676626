"""Detections and objects made up, as COCO's files have them, and what the libraries of that evaluation make of them."""

import contextlib
import copy
import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from tasks.datasets.objects import Objects
from tasks.datasets.outlines import RunLengths, outline_of
from tasks.detection.evaluation.tables import ImageDetections

STATISTICS = (
    *("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large"),
    *("ar1", "ar10", "ar100", "ar_small", "ar_medium", "ar_large"),
)
"""COCO's twelve numbers, in the order of its summary, by our names."""
SIDE = 256


def scene(
    generator: np.random.Generator, classes: int, objects: int, detections: int, masks: bool = False
) -> tuple[ImageDetections, Objects]:
    """An image with about so many objects, one in ten a crowd, and detections near them or anywhere."""
    boxes = random_boxes(generator, count := int(generator.poisson(objects)))
    labels = generator.integers(0, classes, count)
    near = min(3 * count, detections)
    aimed = generator.integers(0, max(count, 1), near)
    found = np.concatenate([boxes[aimed], random_boxes(generator, detections - near)])
    found = np.sort((found + generator.normal(0, 6, found.shape)).reshape(-1, 2, 2), axis=1).reshape(-1, 4)
    found = found.clip(0, SIDE).astype(np.float32)
    wrong = generator.integers(0, classes, detections)
    seen = np.where(generator.random(detections) < 0.7, np.resize(labels[aimed], detections) if near else wrong, wrong)
    outlines = tuple(ellipse(box) for box in boxes) if masks else None
    areas = (0.7 * np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)).astype(np.float32)
    crowd = generator.random(count) < 0.1
    return (
        ImageDetections(
            found,
            generator.permutation(np.linspace(0.01, 0.99, detections, dtype=np.float32))
            + np.float32(generator.random() / 1e3),
            seen.astype(np.int64),
            tuple(ellipse(box) for box in found) if masks else None,
        ),
        Objects((SIDE, SIDE), boxes, labels, areas, crowd, outlines),
    )


def scenes(
    seed: int, images: int = 40, classes: int = 5, objects: int = 6, detections: int = 30, masks: bool = False
) -> tuple[list[ImageDetections], list[Objects]]:
    """Several such images; every fifth has no objects, every seventh no detections."""
    generator = np.random.default_rng(seed)
    made = [
        scene(generator, classes, objects * (row % 5 > 0), detections * (row % 7 > 0), masks) for row in range(images)
    ]
    return [found for found, _ in made], [objects for _, objects in made]


def random_boxes(generator: np.random.Generator, count: int) -> np.ndarray:
    corner, sides = generator.integers(0, SIDE // 2, (count, 2)), generator.integers(6, SIDE // 2, (count, 2))
    return np.concatenate([corner, corner + sides], axis=1).astype(np.float32)


def ellipse(box: np.ndarray) -> RunLengths:
    """The mask of an ellipse in a box."""
    left, top, right, bottom = box.astype(np.float64)
    rows, columns = np.ogrid[:SIDE, :SIDE]
    across = (columns + 0.5 - (left + right) / 2) / max(right - left, 1)
    down = (rows + 0.5 - (top + bottom) / 2) / max(bottom - top, 1)
    return outline_of((across**2 + down**2 <= 0.25).astype(np.uint8))


def coco_box(box: np.ndarray) -> list[float]:
    left, top, right, bottom = box.tolist()
    return [left, top, right - left, bottom - top]


def coco_mask(outline: Any) -> Any:
    if isinstance(outline, RunLengths):
        return {"size": list(outline.size), "counts": outline.counts.decode("ascii")}
    return [part.astype(float).tolist() for part in outline]


def coco_dataset(truths: Sequence[Objects], classes: int) -> dict[str, Any]:
    """A COCO file of annotations; images and classes are numbered from 1."""
    annotations = []
    for image, objects in enumerate(truths, start=1):
        for row in range(len(objects)):
            annotation = {"id": len(annotations) + 1, "image_id": image, "category_id": int(objects.labels[row]) + 1}
            annotation |= {"bbox": coco_box(objects.boxes[row]), "area": float(objects.areas[row])}
            if objects.outlines is not None:
                annotation["segmentation"] = coco_mask(objects.outlines[row])
            annotations.append({**annotation, "iscrowd": int(objects.crowd[row])})
    images = [{"id": row, "height": each.size[0], "width": each.size[1]} for row, each in enumerate(truths, start=1)]
    categories = [{"id": label + 1, "name": str(label)} for label in range(classes)]
    return {"images": images, "annotations": annotations, "categories": categories, "info": {}}


def coco_results(found: Sequence[ImageDetections], kind: str) -> list[dict[str, Any]]:
    """A COCO file of results: boxes, or masks alone (beside boxes their areas would be taken to be those of boxes)."""
    results = []
    for image, each in enumerate(found, start=1):
        for row in range(len(each.labels)):
            facts = {"image_id": image, "category_id": int(each.labels[row]) + 1, "score": float(each.scores[row])}
            if kind == "mask":
                assert each.outlines is not None
                facts["segmentation"] = coco_mask(each.outlines[row])
            else:
                facts["bbox"] = coco_box(each.boxes[row])
            results.append(facts)
    return results


def of_library(library: str, dataset: dict[str, Any], results: list[dict[str, Any]], kind: str) -> list[float]:
    """COCO's twelve numbers by pycocotools or faster-coco-eval; -1 where there is no object."""
    if library == "pycocotools":
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    else:
        from faster_coco_eval import COCO
        from faster_coco_eval import COCOeval_faster as COCOeval
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = copy.deepcopy(dataset)
        truth.createIndex()
        asked = COCOeval(truth, truth.loadRes(copy.deepcopy(results)), {"box": "bbox", "mask": "segm"}[kind])
        asked.evaluate()
        asked.accumulate()
        asked.summarize()
    return [float(each) for each in asked.stats[:12]]
