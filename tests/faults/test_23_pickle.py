"""Fault 23: a pickle that runs code, offered as weights, never runs: a marker file would betray it."""

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from backbones.catalogue import load
from backbones.places import Places
from backbones.weights import read_weights


class Payload:
    """Unpickling it creates the marker file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return Path.touch, (self.marker,)


def as_torch_zip(payload: Payload, path: Path) -> None:
    torch.save({"weight": torch.zeros(2), "payload": payload}, path)


def as_torch_legacy(payload: Payload, path: Path) -> None:
    torch.save({"payload": payload}, path, _use_new_zipfile_serialization=False)


def as_raw_pickle(payload: Payload, path: Path) -> None:
    path.write_bytes(pickle.dumps(payload))


def as_old_protocol(payload: Payload, path: Path) -> None:
    path.write_bytes(pickle.dumps([payload], protocol=0))


def as_numpy_object(payload: Payload, path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.array([payload], dtype=object), allow_pickle=True)


def as_numpy_archive(payload: Payload, path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, weight=np.array([payload], dtype=object))


def as_archive_member(payload: Payload, path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(payload))
        archive.writestr("archive/version", "3\n")
        archive.writestr("archive/byteorder", "little")
    path.write_bytes(buffer.getvalue())


FORMS = [
    as_torch_zip,
    as_torch_legacy,
    as_raw_pickle,
    as_old_protocol,
    as_numpy_object,
    as_numpy_archive,
    as_archive_member,
]


def test_payload_is_live(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Payload(tmp_path / "marker")))
    assert (tmp_path / "marker").exists()


@pytest.mark.parametrize("suffix", [".pth", ".bin", ".safetensors", ".npz"])
@pytest.mark.parametrize("form", FORMS)
def test_payload_in_weights_never_runs(form: Callable[[Payload, Path], None], suffix: str, tmp_path: Path) -> None:
    path, marker = tmp_path / f"weights{suffix}", tmp_path / "marker"
    form(Payload(marker), path)
    with pytest.raises(ValueError, match="weights") as caught:
        read_weights(path)
    assert not marker.exists()
    assert "\n" not in str(caught.value)
    assert "weights_only=False" not in str(caught.value)


def test_payload_behind_a_card_never_runs(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    as_torch_zip(Payload(marker), tmp_path / "weights.pth")
    card = {
        "name": "bad",
        "weights": "weights.pth",
        "library": "timm",
        "architecture": "test_vit",
        "preprocess": {"size": 160, "interpolation": "bicubic", "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]},
        "family": "supervised",
        "pretraining": {"method": "none", "data": "none"},
        "licence": "mit",
        "revision": "1",
    }
    (tmp_path / "card.yaml").write_text(json.dumps(card))
    with pytest.raises(ValueError, match="Reading it in full could run code: refused"):
        load("checkpoint:card.yaml", Places((tmp_path,)))
    assert not marker.exists()
