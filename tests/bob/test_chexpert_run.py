"""CheXpert's layout from end to end through ``bob run``: what can be seen is learnt, what cannot be is at chance."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tasks.datasets.chexpert import ALL, COMPETITION

SEEN, UNSEEN = "Pleural Effusion", "Edema"


def draw(effusion: bool, generator: np.random.Generator) -> Image.Image:
    """Two dark lungs on a lighter, noisy chest; an effusion makes the lower part of one of them bright."""
    pixels = np.full((40, 40), 150.0)
    rows, columns = np.mgrid[:40, :40]
    for centre in (12, 28):
        lung = ((rows - 20) / 14) ** 2 + ((columns - centre) / 6) ** 2 < 1
        pixels[lung] = 60
        if effusion and centre == 28:
            pixels[lung & (rows > 24)] = 170
    pixels += generator.normal(0, 25, (40, 40)) + generator.normal(0, 15)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


@pytest.fixture
def chexpert(tmp_path: Path) -> Path:
    generator = np.random.default_rng(0)
    root = tmp_path / "CheXpert-v1.0-small"
    for split, patients in (("train", range(120)), ("valid", range(120, 200))):
        (root / split).mkdir(parents=True)
        with (root / f"{split}.csv").open("w", newline="") as file:
            table = csv.DictWriter(file, ["Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *ALL])
            table.writeheader()
            for patient in patients:
                found = {name: float(generator.random() < 0.4) for name in COMPETITION}
                folder = root / split / f"patient{patient:05}" / "study1"
                folder.mkdir(parents=True)
                draw(found[SEEN] == 1, generator).save(folder / "view1_frontal.jpg")
                name = f"CheXpert-v1.0-small/{folder.relative_to(root)}/view1_frontal.jpg"
                cells = {each: "" if value == 0 and patient % 2 else value for each, value in found.items()}
                table.writerow({"Path": name, "Sex": "Female", "Age": 50, "Frontal/Lateral": "Frontal", **cells})
    return root


def test_an_informative_finding_is_above_chance_for_every_seed(bob: Any, chexpert: Path) -> None:
    asked = ["--backbones", "pixels", "random:timm:test_resnet", "--tasks", "classification.multilabel"]
    code, log = bob("run", *asked, "--datasets", "chexpert:CheXpert-v1.0-small", "--seeds", "0", "1", "2")
    assert code == 0, log
    assert "6 cells computed" in log
    records = [json.loads(path.read_text()) for path in bob.folder.glob("outputs/store/cells/*/record.json")]
    assert len(records) == 6
    for record in records:
        scores = {score["metric"]: score for score in record["scores"]}
        assert scores[f"auc:{SEEN}"]["low"] > 0.5, record["cell"]
        assert scores[f"auc:{UNSEEN}"]["low"] < 0.5 < scores[f"auc:{UNSEEN}"]["high"], record["cell"]
        assert record["headline"] == "mean_auc"
        assert scores["mean_auc"]["low"] < scores["mean_auc"]["value"] < scores["mean_auc"]["high"]
        assert "official val split" in record["notes"]["test_part"]
        assert "whole groups" in record["notes"]["val_part"]
        assert record["files"]
    assert "mean_auc" in bob("leaderboard", "--format", "csv")[1]
    log = bob("plan", *asked[:-1], "classification.linear", "--datasets", "chexpert:CheXpert-v1.0-small")[1]
    assert "any of several labels an image (multilabel), and this task needs one class" in log
