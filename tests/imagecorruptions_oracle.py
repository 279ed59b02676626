"""The ``imagecorruptions`` package, made to run with today's libraries: what it asks of old ones goes by old names.

It is the rival of tests/benchmarks/test_corruptions.py and the independent answer of tests/tasks/test_corruptions.py.
"""

import inspect
import sys
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest


@cache
def corrupt() -> Callable[..., np.ndarray]:
    """``corrupt(image, severity, corruption_name)``; skips the test where the package is not installed."""
    for name in ("imagecorruptions", "cv2", "skimage"):
        pytest.importorskip(name) if name != "imagecorruptions" else _installed(name)
    import scipy.ndimage
    import skimage.filters

    if not hasattr(np, "float_"):
        np.float_ = np.float64  # type: ignore[attr-defined]
    resources = ModuleType("pkg_resources")
    resources.resource_filename = lambda module, path: str(Path(sys.modules[module].__file__ or "").parent / path)  # type: ignore[attr-defined]
    interpolation = ModuleType("scipy.ndimage.interpolation")
    interpolation.map_coordinates = scipy.ndimage.map_coordinates  # type: ignore[attr-defined]
    gaussian = skimage.filters.gaussian

    def with_old_argument(image: Any, *arguments: Any, multichannel: bool = False, **named: Any) -> Any:
        return gaussian(image, *arguments, **named, channel_axis=-1 if multichannel else None)

    before = {name: sys.modules.get(name) for name in ("pkg_resources", "scipy.ndimage.interpolation")}
    sys.modules |= {"pkg_resources": resources, "scipy.ndimage.interpolation": interpolation}
    try:
        import imagecorruptions
        import imagecorruptions.corruptions as functions
    finally:
        for name, module in before.items():
            sys.modules.pop(name)
            if module is not None:
                sys.modules[name] = module
    if "multichannel" not in inspect.signature(gaussian).parameters:
        functions.gaussian = with_old_argument
    found: Callable[..., np.ndarray] = imagecorruptions.corrupt
    return found


def _installed(name: str) -> None:
    if find_spec(name) is None:
        pytest.skip(f"{name} is not installed (uv sync --group benchmark)")
