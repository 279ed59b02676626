"""Extraction against values computed image by image, the contract's checks, and what the cache does with entries."""

import copy
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import timm
import torch
from torch import nn

from backbones.feature_cache import Layout, block_rows
from backbones.features import Extractor, ExtractSettings
from backbones.images import UnreadableImage, decode, to_pil
from backbones.preprocessing import reference_transform
from tests.feature_fakes import Fake, MemoryImages, WithHead, Wrapped, random_images


@pytest.fixture
def extractor(tmp_path):
    return Extractor(ExtractSettings(tmp_path, device="cpu", workers=2))


def one_by_one(backbone, images, function):
    """The slow, obviously right way: PIL, the reference transform, one image at a time."""
    transform = reference_transform(backbone.preprocess)
    with torch.no_grad():
        return np.concatenate(
            [function(transform(to_pil(decode(images.read(row))))[None]).numpy() for row in range(len(images))]
        )


def test_features_are_those_of_each_image_alone(extractor):
    backbone, images = Fake(), random_images(150)
    found = extractor(backbone, images)
    assert found.shape == (150, 192)
    assert found.dtype == np.float32
    assert isinstance(found, np.memmap)
    assert not found.flags.writeable
    one_level = 1.01 / 255 / 0.2  # the fast path may be a grey level off, before the division by std
    np.testing.assert_allclose(found, one_by_one(backbone, images, backbone.embed), atol=one_level)


@pytest.mark.parametrize("name", ["resnet10t", "mobilenetv3_small_050", "vit_tiny_patch16_224"])
def test_real_networks_give_the_library_s_own_features(extractor, name):
    """BatchNorm folding, channels-last and batching change nothing beyond rounding, on real architectures."""
    torch.manual_seed(0)
    options = {"img_size": 32} if "vit" in name else {}
    network = timm.create_model(name, num_classes=0, **options).eval()
    randomise_norms(network)
    backbone, images = Wrapped(network, side=32), random_images(40, side=32)  # no resize: no path difference
    expected = one_by_one(backbone, images, copy.deepcopy(network))
    found = extractor(backbone, images)
    np.testing.assert_allclose(found, expected, atol=2e-4 * float(np.sqrt((expected**2).mean())))
    assert extractor.used[-1].folded == ("vit" not in name)
    assert extractor.used[-1].decoding == "fast"


def randomise_norms(network):
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.2, 0.2)


def test_the_backbone_is_left_as_it_was(extractor):
    """A 2023 lesson: the trunk ran in training mode and its BatchNorm drifted."""
    network = timm.create_model("resnet10t", num_classes=0).train()
    backbone = Wrapped(network)
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    extractor(backbone, random_images(10))
    assert all(torch.equal(value, before[name]) for name, value in backbone.state_dict().items())
    assert not backbone.training
    assert not any(parameter.requires_grad for parameter in backbone.parameters())


class Awkward(nn.Module):
    """Folding would be wrong here: the convolution's own output is used a second time, beside its norm."""

    def __init__(self):
        super().__init__()
        self.convolution, self.norm = nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4)
        nn.init.uniform_(self.norm.running_mean, 1, 2)

    def forward(self, images):
        raw = self.convolution(images)
        return (self.norm(raw) + raw).mean(dim=(2, 3))


class Views(nn.Module):
    """``view`` on the input fails when it is channels-last."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 3)

    def forward(self, images):
        return torch.cat([images.view(len(images), -1)[:, :7], self.convolution(images).mean(dim=(2, 3))], dim=1)


@pytest.mark.parametrize("module", [Awkward, Views])
def test_what_cannot_be_made_faster_runs_as_it_is(extractor, module):
    network = module().eval()
    backbone, images = Wrapped(network), random_images(20, side=32)
    expected = one_by_one(backbone, images, copy.deepcopy(network))
    np.testing.assert_allclose(extractor(backbone, images), expected, atol=1e-5)
    assert not extractor.used[-1].folded


def test_second_time_from_the_cache_and_no_image_read(extractor, tmp_path):
    images = random_images(70)
    first = extractor(Fake(), images)
    reads = sum(images.reads)
    second = Extractor(ExtractSettings(tmp_path, device="cpu"))(Fake(), images)
    assert np.array_equal(first, second)
    assert sum(images.reads) == reads
    extractor(Fake(), images)
    assert [facts.from_cache for facts in extractor.used] == [False, True]
    assert extractor.facts(Fake(), images).images_per_second == extractor.used[0].images_per_second > 0
    assert extractor.facts(Fake(weights="f" * 64), images) is None


def test_logits_are_the_heads(extractor):
    backbone, images = WithHead(), random_images(20)
    np.testing.assert_allclose(
        extractor(backbone, images, "logits"), one_by_one(backbone, images, backbone.classify), atol=0.1
    )
    assert extractor(backbone, images, "pooled").shape == (20, 192)


def test_logits_of_a_backbone_without_a_head(extractor):
    with pytest.raises(TypeError, match="fake has no classifier head"):
        extractor(Fake(), random_images(3), "logits")


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda images: images, r"shape \(batch, dim\).*fake returned \(2, 3, 8, 8\)"),
        (lambda images: images.flatten(1)[:1], r"fake returned \(1, 192\)"),
        (lambda images: images.flatten(1)[:, :0], r"fake returned \(2, 0\)"),
        (lambda images: images.flatten(1).long(), r"fake returned torch.int64"),
        (lambda images: images.flatten(1).numpy(), r"fake returned a ndarray"),
        (lambda images: None, r"Backbone.embed must return .* fake returned a NoneType"),
    ],
)
def test_outputs_that_break_the_contract(extractor, tmp_path, function, message):
    with pytest.raises((TypeError, ValueError), match=message):
        extractor(Fake(function), random_images(2))
    assert not list(tmp_path.rglob("*.npy"))


def test_a_dimension_that_changes_between_batches(extractor):
    with pytest.raises(ValueError, match="same dim"):
        extractor(Fake(lambda images: images.flatten(1)[:, : 10 + len(images)]), random_images(33))


def test_no_images(extractor):
    with pytest.raises(ValueError, match="no images"):
        extractor(Fake(), MemoryImages([]))


def test_an_unreadable_image_is_named(extractor):
    images = random_images(70)
    images.data[45] = b"<html>not found</html>"
    with pytest.raises(UnreadableImage, match=r"'image-45.png' is an HTML page"):
        extractor(Fake(), images)


def test_storage_float16(tmp_path):
    images = random_images(40)
    whole = Extractor(ExtractSettings(tmp_path, device="cpu"))(Fake(), images)
    extractor = Extractor(ExtractSettings(tmp_path, device="cpu", storage="float16"))
    half = extractor(Fake(), images)
    assert half.dtype == np.float16
    assert np.array_equal(half, whole.astype(np.float16))
    assert extractor.used[0].storage == "float16"
    with pytest.raises(FloatingPointError, match="65504"):
        extractor(Fake(lambda images: images.flatten(1) * 1e6, weights="2" * 64), images)


def test_autocast_is_near_float32(tmp_path):
    torch.manual_seed(0)
    network = timm.create_model("resnet10t", num_classes=0)
    images = random_images(10)
    exact = Extractor(ExtractSettings(tmp_path, device="cpu"))(Wrapped(network), images)
    extractor = Extractor(ExtractSettings(tmp_path, device="cpu", precision="bfloat16"))
    rough = extractor(Wrapped(network), images)
    assert 0 < np.abs(rough - exact).max() < 0.05 * np.abs(exact).max()
    assert extractor.used[0].precision == "bfloat16"


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("can't allocate memory")])
def test_out_of_memory_halves_the_batch_and_says_so(tmp_path, error):
    def at_most_ten(images):
        if len(images) > 10:
            raise error
        return images.flatten(1)

    images = random_images(70)
    roomy = Extractor(ExtractSettings(tmp_path / "roomy", device="cpu"))(Fake(), images)
    extractor = Extractor(ExtractSettings(tmp_path / "tight", device="cpu", batch_size=32))
    assert np.array_equal(extractor(Fake(at_most_ten), images), roomy)
    assert extractor.used[0].batch_size == 8
    assert any("out of memory at a batch of 32" in warning for warning in extractor.used[0].warnings)


def test_out_of_memory_at_one_image_is_an_error(extractor):
    def never(images):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        extractor(Fake(never), random_images(3))


def test_other_runtime_errors_are_not_taken_for_memory(extractor):
    def broken(images):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="mat1"):
        extractor(Fake(broken), random_images(3))


def test_one_computes_the_others_wait(tmp_path):
    images = random_images(64)

    def slow(batch):
        time.sleep(0.05)
        return batch.flatten(1)

    extractors = [Extractor(ExtractSettings(tmp_path, device="cpu", workers=1)) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda each: each(Fake(slow), images), extractors))
    assert all(np.array_equal(found[0], each) for each in found)
    assert sorted(each.used[0].from_cache for each in extractors) == [False, True, True, True]


CHILDREN = """
import os, sys
from pathlib import Path
from backbones.features import Extractor, ExtractSettings
from tests.feature_fakes import Fake, random_images
first = os.fork()  # before anything has run that forking would break: importing is most of what a process costs
extractor = Extractor(ExtractSettings(Path(sys.argv[1]), device="cpu", workers=1))
extractor(Fake(), random_images(500))
os.write(1, f"{extractor.used[0].from_cache} ".encode())
if first == 0:
    os._exit(0)
assert os.waitpid(first, 0)[1] == 0
"""


def test_of_two_processes_one_computes(tmp_path):
    done = subprocess.run([sys.executable, "-c", CHILDREN, tmp_path], stdout=subprocess.PIPE, text=True, check=True)
    assert sorted(done.stdout.split()) == ["False", "True"]


def test_progress_reaches_the_total(tmp_path):
    seen = []
    extractor = Extractor(ExtractSettings(tmp_path, device="cpu", batch_size=16), lambda *told: seen.append(told))
    extractor(Fake(), random_images(70))
    assert [done for _, done, _ in seen] == [16, 32, 48, 64, 70]
    assert {(name, total) for name, _, total in seen} == {("fake", 70)}


MEMORY = """
import sys
from pathlib import Path
import torch
from backbones.features import Extractor, ExtractSettings
from tests.feature_fakes import Fake, MemoryImages, png
rows, dim = int(sys.argv[2]), 4096
images = MemoryImages([png(0, 8)] * rows)
weights = torch.arange(dim, dtype=torch.float32)
backbone = Fake(lambda batch: batch.mean(dim=(1, 2, 3))[:, None] * weights)
extractor = Extractor(ExtractSettings(Path(sys.argv[1]), device="cpu", workers=2))
extractor(backbone, MemoryImages([png(1, 8)] * 200))
def peak():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) * 1024
Path("/proc/self/clear_refs").write_text("5")
before = peak()
assert extractor(backbone, images).shape == (rows, dim)
print((peak() - before) / (rows * dim * 4))
"""


@pytest.mark.slow
def test_memory_stays_far_below_the_matrix(tmp_path):
    """Peak resident memory over that before, as a share of a matrix of 164 MB, in a process of its own."""
    run = subprocess.run([sys.executable, "-c", MEMORY, tmp_path, "10000"], capture_output=True, text=True, check=True)
    assert float(run.stdout) < 0.2


@pytest.mark.parametrize(("rows", "dim"), [(1, 1), (100, 7), (12345, 2048), (10**6, 512)])
def test_header_is_numpys_and_blocks_cover_the_matrix(tmp_path, rows, dim):
    layout = Layout(rows, dim, "<f4", block_rows(rows))
    (tmp_path / "x.npy").write_bytes(layout.header)
    with (tmp_path / "x.npy").open("rb") as file:
        assert np.lib.format.read_magic(file) == (1, 0)
        assert np.lib.format.read_array_header_1_0(file) == ((rows, dim), False, np.dtype("<f4"))
        assert file.tell() == len(layout.header)
        assert file.tell() % 64 == 0
    covered = [(layout.block(index).start, layout.block(index).stop) for index in range(layout.blocks)]
    assert [start for start, _ in covered] == [0, *(stop for _, stop in covered[:-1])]
    assert covered[-1][1] == rows
    assert sum(layout.extent(index)[1] for index in range(layout.blocks)) == rows * dim * 4
