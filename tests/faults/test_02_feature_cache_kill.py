"""Case 2: kill -9 inside a feature-cache write. Finished entries always load; a killed build is gone on with."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from backbones.features import Extractor, ExtractSettings
from tests.feature_fakes import Fake, random_images

KILLS = 8
SERVER = """
import os, signal, sys, time
from pathlib import Path
from backbones.features import Extractor, ExtractSettings
from tests.feature_fakes import Fake, random_images
images = random_images(400)
def slow(batch):
    time.sleep(0.01)
    return batch.flatten(1)
def extract(folder):
    Extractor(ExtractSettings(Path(folder), device="cpu", workers=1, batch_size=8))(Fake(slow), images)
print("ready", flush=True)
for line in sys.stdin:
    seconds, folder = line.strip().split(" ", 1)
    child = os.fork()
    if child == 0:
        extract(folder)
        os._exit(0)
    time.sleep(float(seconds))
    os.kill(child, signal.SIGKILL)  # its own child, not yet waited for: the number is still that child's
    os.waitpid(child, 0)
    print("over", flush=True)
"""


def test_killed_at_any_moment_it_ends_with_the_same_matrix(tmp_path):
    """A fork server, as importing torch takes longer than the work. Nothing has run in it that forking would break."""
    images = random_images(400)
    expected = Extractor(ExtractSettings(tmp_path / "whole", device="cpu", batch_size=8))(Fake(), images)
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    random = np.random.default_rng(0)
    assert server.stdout.readline() == "ready\n"
    resumed = 0
    for repeat in range(KILLS):
        folder = tmp_path / f"{repeat % 4}"
        server.stdin.write(f"{random.uniform(0, 0.9)} {folder}\n")
        assert server.stdout.readline() == "over\n"
        resumed += bool(list(folder.glob("features/.building-*")))
    server.stdin.close()
    assert server.wait() == 0
    assert resumed  # else no kill fell into a build, and nothing was tried
    for folder in sorted(tmp_path.glob("[0-3]")):
        assert np.array_equal(Extractor(ExtractSettings(folder, device="cpu", batch_size=8))(Fake(), images), expected)
        assert not list(folder.rglob(".building-*"))
        assert sorted(path.name for path in folder.rglob("*") if path.suffix) == ["entry.json", "features.npy"]


def test_only_what_is_missing_is_computed_again(tmp_path):
    """Stopped in the 5th of 7 blocks, a second run reads only from there on (and a few samples)."""

    def stops(batch):
        stops.images += len(batch)
        if stops.images > 150:
            raise KeyboardInterrupt
        return batch.flatten(1)

    stops.images = 0
    images = random_images(200)
    with pytest.raises(KeyboardInterrupt):
        Extractor(ExtractSettings(tmp_path, device="cpu"))(Fake(stops), images)
    again = random_images(200)
    backbone = Fake()
    found = Extractor(ExtractSettings(tmp_path, device="cpu"))(backbone, again)
    assert sum(backbone.batches) < 110
    assert again.reads[5:60] == [0] * 55
    assert np.array_equal(found, Extractor(ExtractSettings(tmp_path / "new", device="cpu"))(Fake(), images))


def test_a_journal_torn_at_every_byte(tmp_path):
    """Blocks of whole lines are kept, the rest computed again; the result is always the same."""

    def stops(batch):
        if len(backbone.batches) > 4:
            raise KeyboardInterrupt
        return batch.flatten(1)

    images = random_images(150, side=8)
    expected = np.array(Extractor(ExtractSettings(tmp_path / "whole", device="cpu"))(Fake(), images))
    backbone = Fake(stops)
    with pytest.raises(KeyboardInterrupt):
        Extractor(ExtractSettings(tmp_path / "torn", device="cpu"))(backbone, images)
    building = next(Path(tmp_path / "torn" / "features").glob(".building-*"))
    journal, features = (building / "journal.jsonl").read_bytes(), (building / "features.npy").read_bytes()
    for cut in range(0, len(journal), 19):
        folder = tmp_path / f"cut {cut}"
        copied = folder / "features" / building.name
        copied.mkdir(parents=True)
        (copied / "journal.jsonl").write_bytes(journal[:cut])
        (copied / "features.npy").write_bytes(features)
        assert np.array_equal(Extractor(ExtractSettings(folder, device="cpu", workers=1))(Fake(), images), expected)
