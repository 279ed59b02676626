"""Text features: what the tower gives, prompt by prompt; computed once, by whoever is first; whole or gone on with."""

import os
import sys
import traceback
from dataclasses import replace

import numpy as np
import pytest
import torch

from backbones.features import ExtractSettings
from backbones.text_features import TextExtractor
from backbones.text_forward import BATCH_SIZE, text_features
from tests.feature_fakes import Fake, Speaking

PROMPTS = [f"a photo of number {number}." for number in range(300)]
LONG = "a photo of a very long name that never ends."


@pytest.fixture
def settings(tmp_path):
    return ExtractSettings(tmp_path, device="cpu")


def one_by_one(prompts=PROMPTS):
    return np.stack([Speaking().vector(prompt).numpy() for prompt in prompts])


def test_vectors_are_those_of_each_prompt_alone(settings):
    backbone = Speaking()
    found = TextExtractor(settings)(backbone, PROMPTS)
    assert found.dtype == np.float32
    assert not found.flags.writeable
    assert np.array_equal(found, one_by_one())
    assert np.array_equal(text_features(Speaking(), PROMPTS), found)
    assert max(backbone.calls) <= BATCH_SIZE


def test_a_list_of_prompts_is_embedded_once(settings):
    TextExtractor(settings)(Speaking(), PROMPTS)
    again, backbone = TextExtractor(settings), Speaking()
    assert np.array_equal(again(backbone, PROMPTS), one_by_one())
    assert backbone.heard == []
    assert again.used[0].from_cache


@pytest.mark.parametrize(
    "change",
    [
        {"prompts": PROMPTS[::-1]},
        {"prompts": [*PROMPTS[:-1], "other"]},
        {"weights": "3" * 64},
        {"settings": {"precision": "bfloat16"}},
        {"settings": {"storage": "float16"}},
    ],
)
def test_whatever_changes_the_numbers_is_computed_anew(settings, change):
    TextExtractor(settings)(Speaking(), PROMPTS)
    backbone = Speaking(weights=change.get("weights", "2" * 64))
    extractor = TextExtractor(replace(settings, **change.get("settings", {})))
    found = extractor(backbone, prompts := change.get("prompts", PROMPTS))
    assert not extractor.used[0].from_cache
    assert backbone.heard == prompts
    np.testing.assert_allclose(found, one_by_one(prompts), rtol=1e-3)
    assert found.dtype == np.float32


def test_cut_prompts_are_a_warning_also_from_the_cache(settings):
    for from_cache in (False, True):
        extractor = TextExtractor(settings)
        extractor(Speaking(), [*PROMPTS, LONG])
        assert extractor.used[0].from_cache is from_cache
        (line,) = extractor.used[0].warnings
        assert "1 of 301 prompts are longer" in line
        assert LONG in line
        extractor(Speaking(), PROMPTS)
        assert extractor.used[1].warnings == ()


def test_many_processes_embed_once(settings):
    log = settings.cache / "log"
    children = []
    for _ in range(4):
        pid = os.fork()
        if pid == 0:
            try:
                found = TextExtractor(settings)(Speaking(log=log), PROMPTS)
                os._exit(int(not np.array_equal(found, one_by_one())))
            except BaseException:  # a child that went on from here would run all the tests that follow
                traceback.print_exc(file=sys.__stderr__)
                os._exit(2)
        children.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0] * 4
    assert log.read_text().splitlines() == PROMPTS


def test_what_was_embedded_before_a_stop_is_kept(settings):
    class Stopped(Speaking):
        def embed_text(self, prompts):
            if len(self.calls) == 3:
                raise KeyboardInterrupt
            return super().embed_text(prompts)

    first, second = Stopped(), Speaking()
    with pytest.raises(KeyboardInterrupt):
        TextExtractor(settings)(first, PROMPTS)
    found = TextExtractor(settings)(second, PROMPTS)
    assert first.heard + second.heard == PROMPTS
    assert np.array_equal(found, one_by_one())


def test_out_of_memory_goes_on_with_half_the_prompts(settings):
    class Small(Speaking):
        def embed_text(self, prompts):
            if len(prompts) > 5:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return super().embed_text(prompts)

    backbone = Small()
    assert np.array_equal(TextExtractor(settings)(backbone, PROMPTS), one_by_one())
    assert backbone.heard == PROMPTS


@pytest.mark.parametrize(
    ("outputs", "error", "words"),
    [
        (lambda rows: torch.full((rows, 4), torch.nan), FloatingPointError, "32 of 32 prompts, the first 'a photo"),
        (lambda rows: torch.zeros(rows, 4, 4), ValueError, r"embed_text must return .* \(32, 4, 4\)"),
        (lambda rows: torch.zeros(rows, 4, dtype=torch.long), TypeError, "embed_text must return"),
        (lambda rows: None, TypeError, "NoneType"),
    ],
)
def test_what_breaks_the_contract_is_named_and_not_kept(settings, outputs, error, words):
    class Broken(Speaking):
        def embed_text(self, prompts):
            return outputs(len(prompts))

    with pytest.raises(error, match=words):
        TextExtractor(settings)(Broken(), PROMPTS)
    assert not list(settings.cache.rglob("features.npy"))


def test_no_text_tower_and_no_prompts_are_mistakes(settings):
    with pytest.raises(TypeError, match="fake has no text tower"):
        TextExtractor(settings)(Fake(), PROMPTS)
    with pytest.raises(ValueError, match="no prompts"):
        TextExtractor(settings)(Speaking(), [])
