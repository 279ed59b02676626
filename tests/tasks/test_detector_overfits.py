"""Cascade Mask R-CNN learns eight real images by heart, under a backbone of each kind with random weights."""

import json
import os
import time
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from faster_coco_eval import COCO, COCOeval_faster
from faster_coco_eval.core import mask as run_lengths
from PIL import Image
from torchvision.models.detection.roi_heads import paste_masks_in_image

from backbones.adapters import timm_models
from backbones.base import Backbone
from backbones.catalogue import load
from backbones.places import Places
from backbones.training.parameter_groups import train_mode
from tasks.detection.batch import DetectionBatch, Truth
from tasks.detection.catalogue import build_detector
from tasks.detection.detector import Detector
from tasks.detection.head_settings import HeadSettings
from tasks.trunk import Trunk

pytestmark = pytest.mark.slow
SIDE, IMAGES, SMALLEST = 128, 8, 16
STEPS, BATCH, RATE = 240, 4, 1e-3
HEADS = HeadSettings(pyramid_channels=64, head_width=256, samples=64, training_proposals=200, proposals=100)


@pytest.fixture(scope="module")
def eight() -> tuple[DetectionBatch, list[dict[str, Any]], int]:
    """The first images of coco_mini with no object below 16 pixels once their longer side is 128."""
    if not (folder := os.environ.get("BOB_DATA")):
        pytest.skip("needs real data: set BOB_DATA to its folder")
    with zipfile.ZipFile(Path(folder) / "coco_mini.zip") as archive:
        document = json.loads(archive.read("instances_seg_train.json"))
        classes = [each["id"] for each in document["categories"]]
        found = []
        for image in document["images"]:
            scale = SIDE / max(image["width"], image["height"])
            objects = [each for each in document["annotations"] if each["image_id"] == image["id"]]
            if objects and min(min(each["bbox"][2:]) for each in objects) * scale >= SMALLEST:
                found.append(_read(archive, image, objects, classes, scale))
            if len(found) == IMAGES:
                break
    images, sizes, truths = zip(*found, strict=True)
    batch = DetectionBatch(torch.stack(images), sizes, truths, tuple(str(row) for row in range(IMAGES)))
    return batch, list(_annotations(truths)), len(classes)


def _read(
    archive: zipfile.ZipFile, image: dict[str, Any], objects: list[dict[str, Any]], classes: list[int], scale: float
) -> tuple[torch.Tensor, tuple[int, int], Truth]:
    width, height = round(image["width"] * scale), round(image["height"] * scale)
    picture = Image.open(BytesIO(archive.read(image["file_name"]))).convert("RGB").resize((width, height))
    canvas = torch.zeros(3, SIDE, SIDE)
    canvas[:, :height, :width] = torch.from_numpy(np.array(picture)).permute(2, 0, 1) / 127.5 - 1
    masks = torch.zeros(len(objects), SIDE, SIDE, dtype=torch.uint8)
    for mask, each in zip(masks, objects, strict=True):
        parts = [(np.array(part) * scale).tolist() for part in each["segmentation"]]
        runs = run_lengths.merge(run_lengths.frPyObjects(parts, SIDE, SIDE))
        mask[:] = torch.from_numpy(run_lengths.decode(runs))
    boxes = torch.tensor([each["bbox"] for each in objects], dtype=torch.float32) * scale
    boxes[:, 2:] += boxes[:, :2]
    labels = torch.tensor([classes.index(each["category_id"]) for each in objects])
    limits = torch.tensor([width, height, width, height], dtype=torch.float32)
    return canvas, (height, width), Truth(torch.minimum(boxes, limits), labels, masks)


def _annotations(truths: tuple[Truth, ...]) -> Iterator[dict[str, Any]]:
    for image, truth in enumerate(truths, 1):
        assert truth.masks is not None
        for row, mask in enumerate(truth.masks):
            yield _annotation(image, truth.boxes[row], int(truth.labels[row]), mask)


def _annotation(image: int, box: torch.Tensor, label: int, mask: torch.Tensor) -> dict[str, Any]:
    left, top, right, bottom = box.tolist()
    runs = run_lengths.encode(np.asfortranarray(mask.numpy().astype(np.uint8)))
    corner = {"bbox": [left, top, right - left, bottom - top], "area": (right - left) * (bottom - top)}
    return {"image_id": image, "category_id": label + 1, "segmentation": runs, "iscrowd": 0, **corner}


def average_precision(detector: Detector, batch: DetectionBatch, annotations: list[dict[str, Any]]) -> list[float]:
    """AP50 of boxes and of masks."""
    rows = []
    for image, found in enumerate(detector.eval().detect(batch.images, batch.sizes), 1):
        assert found.masks is not None
        pasted = paste_masks_in_image(found.masks[:, None], found.boxes, (SIDE, SIDE))[:, 0] >= 0.5
        for box, label, score, mask in zip(found.boxes, found.labels, found.scores, pasted, strict=True):
            rows.append({**_annotation(image, box, int(label), mask), "score": float(score)})
    truth = COCO(
        {
            "images": [{"id": image + 1, "height": SIDE, "width": SIDE} for image in range(IMAGES)],
            "categories": [{"id": label + 1, "name": str(label)} for label in range(80)],
            "annotations": [{**each, "id": row + 1} for row, each in enumerate(annotations)],
        }
    )
    if not rows:
        return [0.0, 0.0]
    answers = truth.loadRes(rows)
    found_50 = []
    for kind in ("bbox", "segm"):
        judged = COCOeval_faster(truth, answers, kind)
        judged.run()
        found_50.append(float(judged.stats[1]))
    return found_50


def swin() -> Backbone:
    """timm's, made tiny."""
    shape = {"embed_dim": 48, "depths": (1, 1, 2, 1), "num_heads": (2, 4, 8, 16), "num_classes": 0}
    twin = load("random:timm:test_vit", Places())
    model = timm_models.build("swin_tiny_patch4_window7_224", shape, Places())
    return timm_models.wrap(model, twin.card, twin.preprocess)


BACKBONES = {
    "cnn": lambda: load("random:timm:test_resnet", Places()),
    "swin": swin,
    "vit": lambda: load("random:timm:test_vit", Places()),
    "diffusion": lambda: load("random:diffusers:test_unet", Places()),
}


@pytest.mark.parametrize("kind", BACKBONES)
def test_eight_images_are_learnt_by_heart(kind: str, eight: tuple[DetectionBatch, list[dict[str, Any]], int]) -> None:
    batch, annotations, classes = eight
    begun = time.perf_counter()
    torch.manual_seed(0)
    detector = build_detector("cascade-mask-rcnn", Trunk(BACKBONES[kind]()), classes, HEADS)
    trained = [parameter for parameter in detector.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=RATE, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, STEPS, pct_start=0.1)
    detector.to(memory_format=torch.channels_last)
    train_mode(detector)
    for step in range(STEPS):
        rows = torch.randperm(IMAGES)[:BATCH].tolist()
        part = DetectionBatch(
            batch.images[rows], tuple(batch.sizes[row] for row in rows), tuple(batch.truths[row] for row in rows),
            tuple(batch.names[row] for row in rows),
        )  # fmt: skip
        loss = torch.stack(list(detector.losses(part).values())).sum()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 10.0)
        optimiser.step()
        schedule.step()
        if step % 50 == 49:
            print(
                f"{kind} {step + 1}: loss {float(loss.detach()):.3f}, {time.perf_counter() - begun:.0f} s", flush=True
            )
    boxes, masks = average_precision(detector, batch, annotations)
    spent = time.perf_counter() - begun
    print(f"\n{kind}: {len(annotations)} objects, AP50 of boxes {boxes:.3f}, of masks {masks:.3f}, {spent:.0f} s")
    assert boxes > 0.9
    assert masks > 0.8
