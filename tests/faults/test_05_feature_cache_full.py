"""Case 5: the disk fills while features are written. The error names it and the file; what was there stands."""

import subprocess
import sys

import numpy as np

from backbones.features import Extractor, ExtractSettings
from tests.feature_fakes import Fake, random_images

CHILD = """
import resource, sys
from pathlib import Path
from backbones.features import Extractor, ExtractSettings
from tests.feature_fakes import Fake, random_images
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
extractor = Extractor(ExtractSettings(Path(sys.argv[1]), device="cpu", workers=1))
extractor(Fake(), random_images(50))
try:
    extractor(Fake(), random_images(300))
except OSError as error:
    print(error)
"""


def test_a_full_disk_is_named_and_old_entries_stand(tmp_path):
    """50 x 192 floats are 38 kB and fit below a limit of 100 kB; 300 rows do not."""
    run = subprocess.run([sys.executable, "-c", CHILD, tmp_path], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "features.npy" in run.stdout
    assert "free some space and run again" in run.stdout
    backbone = Fake()
    extractor = Extractor(ExtractSettings(tmp_path, device="cpu"))
    extractor(backbone, random_images(50))
    assert backbone.batches == []
    resumed = extractor(backbone, random_images(300))
    assert sum(backbone.batches) < 250  # the blocks written before the disk was full were kept
    fresh = Extractor(ExtractSettings(tmp_path / "fresh", device="cpu"))(Fake(), random_images(300))
    assert np.array_equal(resumed, fresh)
