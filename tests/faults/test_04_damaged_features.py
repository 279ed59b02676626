"""Case 4: a flipped byte or a cut in a feature entry is found before use, and only what is bad is computed again."""

import numpy as np
import pytest

from backbones.features import Extractor, ExtractSettings
from tests.feature_fakes import Fake, random_images

IMAGES = random_images(100, side=8)


@pytest.fixture
def entry(tmp_path):
    """A finished entry's folder, and what its matrix was."""
    matrix = Extractor(ExtractSettings(tmp_path, device="cpu", workers=1))(Fake(), IMAGES)
    return next(tmp_path.rglob("entry.json")).parent, np.array(matrix)


def again(tmp_path):
    backbone = Fake()
    extractor = Extractor(ExtractSettings(tmp_path, device="cpu", workers=1))
    return np.array(extractor(backbone, IMAGES)), sum(backbone.batches), extractor


def test_an_untouched_entry_is_used(tmp_path, entry):
    matrix, computed, _ = again(tmp_path)
    assert np.array_equal(matrix, entry[1])
    assert computed == 0


@pytest.mark.parametrize("share", [0.0, 0.001, 0.2, 0.5, 0.999])
def test_a_flipped_byte(tmp_path, entry, share):
    file = entry[0] / "features.npy"
    data = bytearray(file.read_bytes())
    data[int(share * len(data))] ^= 0x40
    file.write_bytes(data)
    matrix, computed, _ = again(tmp_path)
    assert np.array_equal(matrix, entry[1])
    samples = 6  # the backbone is tried on two images, up to three times
    assert computed == 0 or computed <= 32 + samples
    assert again(tmp_path)[1] == 0


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9])
def test_cut_short_or_grown(tmp_path, entry, share):
    file = entry[0] / "features.npy"
    whole = file.read_bytes()
    for data in (whole[: int(share * len(whole))], whole + b"more"):
        next(tmp_path.rglob("features.npy")).write_bytes(data)
        assert np.array_equal(again(tmp_path)[0], entry[1])
        assert again(tmp_path)[1] == 0


@pytest.mark.parametrize("data", [b"", b"{}", b"not json", b'{"body": {"layout": 1}, "sha256": "0"}', b"[1]"])
def test_a_damaged_description_means_computing_again(tmp_path, entry, data):
    (entry[0] / "entry.json").write_bytes(data)
    matrix, computed, _ = again(tmp_path)
    assert np.array_equal(matrix, entry[1])
    assert computed >= 100


def test_every_byte_of_the_description(tmp_path, entry):
    """Flipped anywhere, it is either noticed or changes nothing: the matrix and its facts are the old ones."""
    file = entry[0] / "entry.json"
    whole = file.read_bytes()
    facts = Extractor(ExtractSettings(tmp_path, device="cpu")).facts(Fake(), IMAGES)
    for at in range(0, len(whole), 61):
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        extractor = Extractor(ExtractSettings(tmp_path, device="cpu", workers=1))
        assert np.array_equal(extractor(Fake(), IMAGES), entry[1])
        found = extractor.facts(Fake(), IMAGES)
        assert (found.dim, found.storage, found.decoding) == (facts.dim, facts.storage, facts.decoding)


def test_a_missing_file(tmp_path, entry):
    (entry[0] / "features.npy").unlink()
    assert np.array_equal(again(tmp_path)[0], entry[1])


def test_a_pickle_in_place_of_features_is_not_run(tmp_path, entry):
    """Case 23 for the cache: an object array would run code when loaded."""

    class Payload:
        def __reduce__(self):
            return (open, (str(tmp_path / "marker"), "w"))

    np.save(entry[0] / "features.npy", np.array([Payload()], dtype=object), allow_pickle=True)
    assert np.array_equal(again(tmp_path)[0], entry[1])
    assert not (tmp_path / "marker").exists()
