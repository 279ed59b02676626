"""Outputs in the middle of a training: those of the reference preprocessing, and the model is left as it was."""

import numpy as np
import pytest
import torch
from torch import nn

from backbones.images import UnreadableImage, decode, to_pil
from backbones.preprocessing import reference_transform
from backbones.training.evaluation import predictions
from backbones.training.execution import Execution
from tests.feature_fakes import Fake, random_images

PREPROCESS = Fake(side=16).preprocess
ROWS = [7, 3, 29, 0, 11, 12, 13]


def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Dropout(0.5), nn.Flatten(), nn.Linear(1568, 5))


def by_hand(network, images):
    transform = reference_transform(PREPROCESS)
    batch = torch.stack([transform(to_pil(decode(images.read(row)))) for row in ROWS])
    with torch.no_grad():
        return network.eval()(batch).numpy()


@pytest.mark.parametrize("execution", [Execution(workers=0), Execution(workers=2, device_batch=3)])
def test_outputs_are_those_of_the_reference_in_order(execution):
    network, images = model(), random_images(30, side=16)
    found = predictions(network, images, ROWS, PREPROCESS, execution)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, by_hand(network, images), rtol=1e-4, atol=1e-5)


def test_modes_buffers_and_gradients_stay():
    network, images = model().train(), random_images(30, side=16)
    network[1].eval()  # a part that is frozen
    before = {name: value.clone() for name, value in network.state_dict().items()}
    predictions(network, images, ROWS, PREPROCESS, Execution(workers=0))
    assert [module.training for module in network] == [True, False, True, True, True]
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in network.parameters())
    images.data[11] = b"nothing"
    with pytest.raises(UnreadableImage, match=r"image-11\.png"):
        predictions(network, images, ROWS, PREPROCESS, Execution(workers=0))
    assert network[0].training


def test_precision_is_that_of_the_training():
    network, images = model(), random_images(30, side=16)
    exact = predictions(network, images, ROWS, PREPROCESS, Execution(workers=0))
    rough = predictions(network, images, ROWS, PREPROCESS, Execution(workers=0, precision="bfloat16"))
    assert rough.dtype == np.float32
    assert 1e-4 < np.abs(rough - exact).max() < 0.1


def test_nothing_to_evaluate_is_refused():
    with pytest.raises(ValueError, match="rows is empty"):
        predictions(model(), random_images(3), [], PREPROCESS, Execution(workers=0))
