"""Generalisation from end to end: domains left out, groups of a WILDS set, and official counts held against."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from backbones.places import Places
from bob.data import check
from tasks.datasets.base import OpenOptions

COLOURS = {"red": (200, 60, 60), "green": (60, 200, 60), "blue": (60, 60, 200)}


def paint(path: Path, colour: str, shift: int, generator: np.random.Generator) -> None:
    """A noisy picture of a colour, all of it lighter or darker by domain."""
    pixels = np.array(COLOURS[colour]) + shift + generator.normal(0, 40, (12, 12, 3))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(path)


def records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in folder.glob("outputs/store/cells/*/record.json")]


def test_every_domain_is_left_out_once_for_each_seed(bob: Any, tiny_backbones: list[str]) -> None:
    generator = np.random.default_rng(0)
    for shift, domain in zip((-40, 0, 40), ("dark", "plain", "light"), strict=True):
        for colour in COLOURS:
            for number in range(10):
                paint(bob.folder / "domains" / domain / colour / f"{number}.png", colour, shift, generator)
    domains = [f"images:domains#{name}" for name in ("dark", "plain", "light")]
    (bob.folder / "plan.yaml").write_text(
        f"backbones: [pixels, '{tiny_backbones[0]}']\nseeds: [0, 1]\n"
        f"tasks: [{{task: ood.leave_one_domain_out, domains: {json.dumps(domains)}, strengths: 3}}]\n"
    )
    code, log = bob("run", "plan.yaml")
    assert code == 0, log
    assert "4 cells computed" in log
    for record in records(bob.folder):
        scores = {(score["metric"], score["split"]): score for score in record["scores"]}
        tops = [scores["top1", domain]["value"] for domain in domains]
        assert scores["ood_top1", "test"]["value"] == pytest.approx(np.mean(tops))
        assert scores["ood_top1", "test"]["n"] == 90
        assert np.mean(tops) > 0.6, "colours are told apart in any light"
    code, log = bob("run", "plan.yaml")
    assert "0 cells computed, 4 found done" in log


def test_the_worst_group_of_a_wilds_set_reaches_the_record(bob: Any) -> None:
    generator, lines = np.random.default_rng(0), ["split,filename,y,location_remapped"]
    places = [("train", 40, 0), ("id_val", 12, 0), ("id_test", 12, 0), ("test", 20, 1), ("test", 20, 2), ("test", 4, 3)]
    for split, count, location in places:
        for number in range(count):
            label, name = number % 3, f"{split}{location}_{number}.png"
            shown = list(COLOURS)[label if location != 2 else (label + 1) % 3]  # nobody is right at place 2
            paint(bob.folder / "iwildcam_v2.0" / "train" / name, shown, 0, generator)
            lines.append(f"{split},{name},{label},{location}")
    (bob.folder / "iwildcam_v2.0" / "metadata.csv").write_text("\n".join(lines) + "\n")
    (bob.folder / "plan.yaml").write_text(
        "backbones: [pixels]\ntasks: [{task: ood.shift, train: iwildcam, test: ['iwildcam#test'], strengths: 3}]\n"
    )
    code, log = bob("run", "plan.yaml")
    assert code == 0, log
    (record,) = records(bob.folder)
    scores = {score["metric"]: score for score in record["scores"] if score["split"] == "iwildcam#test"}
    assert record["notes"]["worst_group:iwildcam#test"] == {"group": "2", "images": 20, "groups": 2, "too small": 1}
    assert scores["worst_group"]["value"] < 0.2 < 0.5 < scores["top1"]["value"] < 0.8
    assert scores["worst_group"]["n"] == 20
    assert scores["macro_f1"]["low"] <= scores["macro_f1"]["value"] <= scores["macro_f1"]["high"]


def test_official_counts_and_what_nobody_states(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for number in (2, 10):
        paint(tmp_path / "imagenetv2-matched-frequency-format-val" / str(number) / "a.png", "red", number, generator)
    for animal in ("bird", "cat"):
        paint(tmp_path / "terra_incognita" / "location_38" / animal / "a.png", "red", len(animal), generator)
    options = OpenOptions(Places((tmp_path,)), tmp_path / "cache")
    lines, sound = check("imagenet-v2", options, tmp_path / "store")
    assert not sound
    assert "differs: test has 2 images, officially 10,000" in lines
    lines, sound = check("terra-incognita#location_38", options, tmp_path / "store")
    assert [line for line in lines if line.startswith("differs")] == ["differs: 2 classes have images, officially 10"]
