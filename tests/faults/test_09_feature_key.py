"""Case 9 for the feature cache: whatever decides the numbers is in the key; what only decides the speed is not."""

import json
from dataclasses import replace

import pytest

import backbones.features
from backbones.features import Extractor, ExtractSettings
from tests.feature_fakes import Fake, WithHead, png, random_images

IMAGES = random_images(20)


@pytest.fixture
def settings(tmp_path):
    settings = ExtractSettings(tmp_path, device="cpu", workers=1)
    Extractor(settings)(WithHead(), IMAGES)
    return settings


def from_cache(settings, backbone=None, images=IMAGES, layer="pooled"):
    extractor = Extractor(settings)
    extractor(backbone or WithHead(), images, layer)
    return extractor.used[0].from_cache


def changed(**fields):
    backbone = Fake()
    backbone.preprocess = replace(backbone.preprocess, **fields)
    return backbone


def test_nothing_changed(settings):
    assert from_cache(settings)


@pytest.mark.parametrize(
    "fields",
    [
        {"size": (8, 7)},
        {"resize": 9},
        {"crop": "squash"},
        {"interpolation": "bicubic"},
        {"mean": (0.5, 0.4, 0.31)},
        {"std": (0.2, 0.25, 0.31)},
    ],
)
def test_changed_preprocessing(settings, fields):
    assert not from_cache(settings, changed(**fields))


@pytest.mark.parametrize("field", ["weights_sha256", "source", "architecture"])
def test_changed_weights_library_or_architecture(settings, field):
    backbone = Fake()
    backbone.card = replace(backbone.card, **{field: "other"})
    assert not from_cache(settings, backbone)


def test_another_name_for_the_same_weights_is_the_same(settings):
    backbone = Fake()
    backbone.card = replace(backbone.card, name="alias", licence="MIT", revision="main")
    assert from_cache(settings, backbone)


def test_one_touched_image(settings):
    images = random_images(20)
    images.data[7] = png(1000)
    assert not from_cache(settings, images=images)


def test_another_order(settings):
    images = random_images(20)
    images.data.reverse()
    assert not from_cache(settings, images=images)


def test_another_layer(settings):
    assert not from_cache(settings, layer="logits")


@pytest.mark.parametrize("fields", [{"precision": "bfloat16"}, {"storage": "float16"}])
def test_changed_precision_or_storage(settings, fields):
    assert not from_cache(replace(settings, **fields))


@pytest.mark.parametrize("fields", [{"workers": 2}, {"batch_size": 5}, {"device": "auto"}])
def test_execution_fields_change_nothing(settings, fields):
    assert from_cache(replace(settings, **fields))


def test_changed_code(settings, monkeypatch):
    monkeypatch.setattr(backbones.features, "FEATURES_VERSION", backbones.features.FEATURES_VERSION + 1)
    assert not from_cache(settings)


def test_the_entry_says_what_it_was_made_of(settings):
    entry = json.loads(next(settings.cache.rglob("entry.json")).read_text())
    assert entry["body"]["made_of"]["images"] == IMAGES.identity
    assert entry["body"]["made_of"]["preprocess"]["interpolation"] == "bilinear"
