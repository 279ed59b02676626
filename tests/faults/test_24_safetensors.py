"""Fault 24: weights that lie about their size are refused in under a second and 100 MB."""

import json
import resource
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backbones.weights import read_weights

HUGE = 2**62


def safetensors(header: Any, body: bytes = b"", length: int | None = None) -> bytes:
    text = json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + body


def tensor(start: int, end: int, shape: list[int], dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


LIES = {
    "empty": b"",
    "short": b"\x01\x02",
    "no_header": (0).to_bytes(8, "little"),
    "header_of_2_62": safetensors({}, length=HUGE),
    "header_past_the_end": safetensors({"a": tensor(0, 4, [1])}, b"0000", length=100_000),
    "header_of_2_64": b"\xff" * 8 + b"{}",
    "not_json": (5).to_bytes(8, "little") + b"{{{{{",
    "shape_of_2_62": safetensors({"a": tensor(0, 4, [HUGE])}, b"0000"),
    "shape_that_overflows": safetensors({"a": tensor(0, 4, [HUGE, HUGE, HUGE])}, b"0000"),
    "end_of_2_62": safetensors({"a": tensor(0, HUGE, [HUGE // 4])}, b"0000"),
    "overlap": safetensors({"a": tensor(0, 8, [2]), "b": tensor(4, 12, [2])}, b"0" * 12),
    "hole": safetensors({"a": tensor(0, 4, [1]), "b": tensor(8, 12, [1])}, b"0" * 12),
    "backwards": safetensors({"a": tensor(4, 0, [1])}, b"0000"),
    "negative": safetensors({"a": tensor(-4, 0, [1])}, b"0000"),
    "longer_than_said": safetensors({"a": tensor(0, 4, [1])}, b"0" * 400),
    "unknown_type": safetensors({"a": tensor(0, 4, [1], "F31")}, b"0000"),
    "no_tensors": safetensors({}),
}


@pytest.mark.parametrize("lie", LIES)
def test_lie_is_refused_fast_and_small(lie: str, tmp_path: Path) -> None:
    path = tmp_path / f"{lie}.safetensors"
    path.write_bytes(LIES[lie])
    before, start = peak_mb(), time.monotonic()
    with pytest.raises(ValueError, match=lie) as caught:
        read_weights(path)
    assert time.monotonic() - start < 1
    assert peak_mb() - before < 100
    assert "\n" not in str(caught.value)


def test_honest_file_of_the_same_making_is_read(tmp_path: Path) -> None:
    path = tmp_path / "honest.safetensors"
    path.write_bytes(safetensors({"a": tensor(0, 8, [2])}, np.array([1, 2], np.float32).tobytes()))
    assert read_weights(path)["a"].tolist() == [1.0, 2.0]


def test_header_of_a_hundred_megabytes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "long.safetensors"
    with path.open("wb") as file:
        file.write((99 * 2**20).to_bytes(8, "little"))
        file.truncate(100 * 2**20)
    start = time.monotonic()
    with pytest.raises(ValueError, match="claims a header of"):
        read_weights(path)
    assert time.monotonic() - start < 1


@pytest.mark.parametrize("name", ["bomb.npz", "bomb.pth"])
def test_packed_archive_is_not_unpacked(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    member = "weight.npy" if name.endswith("npz") else "archive/data.pkl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open(member, "w") as file:
        for _ in range(256):
            file.write(bytes(2**20))
    before, start = peak_mb(), time.monotonic()
    with pytest.raises(ValueError, match="safetensors"):
        read_weights(path)
    assert time.monotonic() - start < 1
    assert peak_mb() - before < 100


def test_peak_memory_would_show(tmp_path: Path) -> None:
    """The measure itself: a process that does take 200 MB is seen to."""
    code = "import resource; b = bytearray(200 * 2**20); b[:] = b'1' * len(b); print(resource.getrusage(0).ru_maxrss)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(shown.stdout) / 1024 > 200


def peak_mb() -> float:
    """Most memory this process ever held; Linux counts in KiB, macOS in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
