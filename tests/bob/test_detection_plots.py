"""A detector run and drawn by command: the pictures are of the images that were tested, at home and elsewhere."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.detection_fakes import CLASSES, NARROW, picture


def write_set(folder: Path, splits: dict[str, range], negative: bool = False) -> None:
    """Rectangles as a COCO set."""
    for name, seeds in splits.items():
        (folder / name).mkdir(parents=True)
        images, annotations = [], []
        for seed in seeds:
            pixels, objects = picture(seed, outlined=False)
            file = f"{seed:05}.png"
            Image.fromarray(255 - pixels if negative else pixels).save(folder / name / file)
            images.append({"id": seed, "file_name": file, "height": objects.size[0], "width": objects.size[1]})
            for box, label in zip(objects.boxes.tolist(), objects.labels.tolist(), strict=True):
                left, top, right, bottom = box
                sides = right - left, bottom - top
                known = {"id": len(annotations) + 1, "image_id": seed, "category_id": label + 1, "iscrowd": 0}
                annotations.append({**known, "bbox": [left, top, *sides], "area": float(np.prod(sides))})
        categories = [{"id": place, "name": name} for place, name in enumerate(CLASSES, start=1)]
        table = {"images": images, "annotations": annotations, "categories": categories}
        (folder / f"{name}.json").write_text(json.dumps(table))


def test_a_detector_is_run_and_its_images_are_drawn(bob: Any, tmp_path: Path) -> None:
    write_set(tmp_path / "home", {"train": range(0, 12), "test": range(100, 108)})
    write_set(tmp_path / "away", {"test": range(200, 206)}, negative=True)
    given = {**NARROW, "detector": "faster-rcnn", "epochs": 1, "global_batch": 4, "trials": 1, "space": {},
             "milestones": [], "schedule": "cosine", "jitter": "none", "short_side": 64, "long_side": 96,
             "score_threshold": 0.0, "warmup_epochs": 0}  # fmt: skip
    elsewhere = ["coco:away", "corrupted:coco:home?corruptions=fog&levels=1"]
    tasks = [{"task": "detection", **given}, {"task": "detection.shift", "test": elsewhere, **given}]
    asked = [{**each, "dataset": "coco:home"} for each in tasks]
    plan = {"backbones": ["random:timm:test_resnet"], "tasks": asked, "seeds": [0]}
    (tmp_path / "plan.yaml").write_text(json.dumps(plan))
    code, said = bob("run", "plan.yaml")
    assert code == 0, said
    code, said = bob("plot", "--output", "pictures")
    assert code == 0, said
    assert "not drawn" not in said
    names = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    drawn = [name for name in names if name.startswith("detections--")]
    assert len(drawn) == 1 + 3, said  # the test part; in-distribution, away and a corruption
    assert sum(name.startswith("precision_recall--") for name in names) == 2
    assert [name for name in names if name.startswith("detection_errors--")]
