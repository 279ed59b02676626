"""Small arrays on their way to a device."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def sent(array: NDArray[Any], device: torch.device) -> Tensor:
    """On the device, numbers with a fraction as float32; nobody waits for what the device is still at."""
    exact = array.astype(np.float32) if array.dtype.kind == "f" else array
    return torch.from_numpy(np.ascontiguousarray(exact)).to(device, non_blocking=True)
