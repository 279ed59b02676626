"""Mixing against timm's Mixup, whose partner in a batch of two is ours, and against the definitions."""

from contextlib import contextmanager

import numpy as np
import pytest
import torch
from timm.data.mixup import Mixup
from torch.nn.functional import cross_entropy, one_hot

from backbones.training import mixing
from backbones.training.augmentation import Augmentation
from backbones.training.mixing import STEP_CHANCE, Mix, choose_mix, mix_images, mix_targets
from backbones.training.seeded import seeded

BOTH = {"mixup": 0.8, "cutmix": 1.0}
KINDS = [{"mixup": 0.8}, {"cutmix": 1.0}, BOTH, {**BOTH, "cutmix_share": 0.9}]


@contextmanager
def seeded_one_later(*place):
    """timm draws first whether to mix at all, which we always do."""
    with seeded(*place):
        np.random.rand()
        yield


@pytest.mark.parametrize("kind", KINDS)
def test_a_pair_is_mixed_as_timm_mixes_it(kind, monkeypatch):
    monkeypatch.setattr(mixing, "seeded", seeded_one_later)
    augmentation = Augmentation(**kind)
    theirs = Mixup(augmentation.mixup, augmentation.cutmix, switch_prob=augmentation.cutmix_share, num_classes=5)
    chance = torch.Generator().manual_seed(0)
    boxes = 0
    for step in range(50):
        images = torch.randn(2, 3, 24, 32, generator=chance)
        classes = torch.randint(0, 5, (2,), generator=chance)
        logits = torch.randn(2, 5, generator=chance)
        mix = choose_mix(augmentation, (24, 32), 7, step)
        boxes += mix.box is not None
        with seeded(7, STEP_CHANCE, step):
            expected, smooth = theirs(images.clone(), classes)
        torch.testing.assert_close(mix_images(images, mix), expected)
        mixed = mix_targets(one_hot(classes, 5).float(), mix)
        ours = cross_entropy(logits, mixed, label_smoothing=0.1)
        torch.testing.assert_close(ours, -(smooth * logits.log_softmax(1)).sum(1).mean())
    assert (boxes > 0) == (augmentation.cutmix > 0)
    assert (boxes < 50) == (augmentation.mixup > 0)


@pytest.mark.parametrize("mix", [Mix(0.7), Mix(0.75, (2, 6, 1, 7))])
def test_neighbours_are_mixed_however_the_step_is_cut(mix):
    images, targets = torch.randn(12, 3, 8, 12), torch.rand(12, 4)
    whole, whole_targets = mix_images(images, mix), mix_targets(targets, mix)
    for sizes in ([2] * 6, [4, 8], [6, 2, 4]):
        assert torch.equal(torch.cat([mix_images(part, mix) for part in images.split(sizes)]), whole)
        assert torch.equal(torch.cat([mix_targets(part, mix) for part in targets.split(sizes)]), whole_targets)
    for row in range(12):
        other = row + 1 if row % 2 == 0 else row - 1
        expected = images[row].clone()
        if mix.box is None:
            expected = mix.share * images[row] + (1 - mix.share) * images[other]
        else:
            expected[:, 2:6, 1:7] = images[other][:, 2:6, 1:7]
        torch.testing.assert_close(whole[row], expected)
        torch.testing.assert_close(whole_targets[row], mix.share * targets[row] + (1 - mix.share) * targets[other])


def test_the_share_is_that_of_the_pixels_and_the_layout_stays():
    images = torch.stack([torch.zeros(3, 20, 30), torch.ones(3, 20, 30)]).to(memory_format=torch.channels_last)
    for step in range(30):
        for kind in KINDS[:2]:
            mix = choose_mix(Augmentation(**kind), (20, 30), 0, step)
            mixed = mix_images(images, mix)
            assert mixed.is_contiguous(memory_format=torch.channels_last)
            torch.testing.assert_close(mixed.mean(dim=(1, 2, 3)), torch.tensor([1 - mix.share, mix.share]))


def test_a_step_has_one_choice_and_steps_differ():
    both = Augmentation(**BOTH)
    choices = [choose_mix(both, (2000, 3000), 0, step) for step in range(400)]
    assert choices == [choose_mix(both, (2000, 3000), 0, step) for step in range(400)]
    assert len({choice.share for choice in choices}) > 390
    assert choices[0] != choose_mix(both, (2000, 3000), 1, 0)
    boxes = sum(choice.box is not None for choice in choices)
    assert abs(boxes - 200) < 4 * 10


def test_an_odd_batch_is_refused():
    with pytest.raises(ValueError, match="7 items cannot be mixed in pairs; make the batch an even number"):
        mix_images(torch.zeros(7, 3, 4, 4), Mix(0.5))
