"""Small sets of objects written to disk, in COCO's format."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

CATEGORIES = [{"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}, {"id": 90, "name": "toothbrush"}]
SIZES = {"a.png": (40, 30), "b.png": (24, 48), "c.png": (32, 32)}
"""Width and height."""


def picture(seed: int, size: tuple[int, int]) -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def annotation(number: int, image: int, category: int, box: list[float], **others: Any) -> dict[str, Any]:
    return {"id": number, "image_id": image, "category_id": category, "bbox": box, "iscrowd": 0, **others}


def table(*annotations: dict[str, Any], names: list[str] | None = None) -> dict[str, Any]:
    """Images are numbered from 10 in the order of their names."""
    images = [
        {"id": 10 + row, "file_name": name, "width": SIZES[name][0], "height": SIZES[name][1]}
        for row, name in enumerate(names or SIZES)
    ]
    return {"images": images, "annotations": [*annotations], "categories": CATEGORIES}


def write_set(root: Path, tables: dict[str, dict[str, Any]], folders: dict[str, str]) -> Path:
    """Each table under its name, and each split's images, which differ, in its folder."""
    for file, content in tables.items():
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_text(json.dumps(content))
    for place, folder in enumerate(folders.values()):
        for row, (name, size) in enumerate(SIZES.items()):
            (root / folder / name).parent.mkdir(parents=True, exist_ok=True)
            (root / folder / name).write_bytes(picture(10 * place + row, size))
    return root


SOUND = table(
    annotation(0, 12, 3, [1.5, 2, 10, 20.25], area=150.5),
    annotation(5, 10, 90, [0, 0, 40, 30], iscrowd=1, area=600),
    annotation(9, 10, 7, [3, 4, 5, 6], area=29),
    annotation(2, 12, 7, [30, 30, 2, 2]),
)
"""Image b.png has nothing; annotation 0 has number 0; the last has no area; the order is not that of images."""
