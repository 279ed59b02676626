"""Feature extraction from JPEG files against timm's loader and model, and against the bare model; ratios of one run.

ResNet-18 at 224 from 500 x 375 JPEGs on the CPU, 2 workers. Contenders take turns and medians are compared.
"""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from backbones.base import Backbone, Preprocess
from backbones.catalogue import load
from backbones.feature_run import FeatureRun
from backbones.features import Extractor, ExtractSettings
from backbones.preprocessing import normalise
from tests.benchmarks.conftest import IMAGES, Files
from tests.benchmarks.turns import in_turns

timm = pytest.importorskip("timm", reason="the rival is timm's loader")
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("two_cores_and_no_shape_checks")]

BATCH = 32
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def network() -> nn.Module:
    return timm.create_model("resnet18", num_classes=0).eval()


def backbone() -> Backbone:
    """The same architecture as a user gets it; timm's own crop of 0.95 would decode to other sizes than the rivals'."""
    backbone = load("random:timm:resnet18.tv_in1k")
    assert backbone.preprocess == Preprocess((224, 224), 256, "center", "bilinear", MEAN, STD)
    return backbone


def timm_loader(files: Files):
    dataset = timm.data.create_dataset("", root=str(files.paths[0].parents[1]))
    return timm.data.create_loader(
        dataset,
        (3, 224, 224),
        BATCH,
        use_prefetcher=False,
        interpolation="bilinear",
        mean=MEAN,
        std=STD,
        num_workers=2,
        crop_pct=0.875,
        device=torch.device("cpu"),
    )


def with_timm(files: Files, model: nn.Module) -> Callable[[], int]:
    loader = timm_loader(files)  # its workers stay between rounds

    def run() -> int:
        with torch.inference_mode():
            return sum(len(model(images)) for images, _ in loader)

    return run


def bare(model: nn.Module, precision: torch.dtype) -> Callable[[], int]:
    """The model alone, channels-last, on one batch that lies ready."""
    model = model.to(memory_format=torch.channels_last)
    images = torch.randn(BATCH, 3, 224, 224).contiguous(memory_format=torch.channels_last)

    def run() -> int:
        with torch.inference_mode(), torch.autocast("cpu", precision, enabled=precision != torch.float32):
            return sum(len(model(images)) for _ in range(IMAGES // BATCH))

    return run


def ours(files: Files, folder: Path, precision: str) -> Callable[[], int]:
    """From files to features on disk, a new cache each time; the model is there before, as the rivals' is."""
    times, model = iter(range(1000)), backbone()

    def run() -> int:
        settings = ExtractSettings(folder / f"{precision}{next(times)}", device="cpu", workers=2, precision=precision)
        return len(Extractor(settings)(model, files))

    return run


def test_extraction_in_float32(files, tmp_path):
    speed = in_turns(
        {
            "timm loader + model": with_timm(files, network()),
            "bare, channels-last": bare(network(), torch.float32),
            "ours": ours(files, tmp_path, "float32"),
        }
    )
    assert speed["ours"] >= 1.3 * speed["timm loader + model"]
    assert speed["ours"] >= 0.95 * speed["bare, channels-last"]


@pytest.mark.skipif(not torch.ops.mkldnn._is_mkldnn_bf16_supported(), reason="this CPU has no bfloat16 arithmetic")
def test_extraction_in_bfloat16(files, tmp_path):
    speed = in_turns(
        {
            "timm loader + model": with_timm(files, network()),
            "bare, channels-last": bare(network(), torch.bfloat16),
            "ours": ours(files, tmp_path, "bfloat16"),
        }
    )
    assert speed["ours"] >= 2.2 * speed["timm loader + model"]
    assert speed["ours"] >= 0.95 * speed["bare, channels-last"]


def test_decoding_and_preprocessing(files):
    """Both with their workers already started, to normalised float32 batches; ours as a run on a CPU goes about it."""
    loader, model = timm_loader(files), backbone()
    run = FeatureRun(model, files, "pooled", torch.device("cpu"), 2, "float32", None)
    batches = [range(start, start + run.forward.batch_size) for start in range(0, len(files), run.forward.batch_size)]
    with run, ThreadPoolExecutor(2, initializer=torch.set_num_threads, initargs=(1,)) as pool:

        def ours() -> int:
            return sum(pool.map(lambda rows: len(normalise(run.filled(rows), model.preprocess)), batches))

        speed = in_turns({"timm loader": lambda: sum(len(images) for images, _ in loader), "ours": ours})
    assert speed["ours"] >= 1.5 * speed["timm loader"]


def test_cached_run(files, tmp_path, benchmark):
    model = backbone()
    settings = ExtractSettings(tmp_path, device="cpu", workers=2)
    started = time.perf_counter()
    first = np.array(Extractor(settings)(model, files))
    computing = time.perf_counter() - started
    cached = benchmark(lambda: np.array(Extractor(settings)(model, files)))
    assert np.array_equal(first, cached)
    print(f"\ncomputed in {computing:.2f} s, from the cache in {benchmark.stats.stats.median * 1000:.1f} ms")
    assert computing >= 50 * benchmark.stats.stats.median
