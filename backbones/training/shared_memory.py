"""Items from a worker process to this one through memory both see: written once, not copied on the way."""

import io
import mmap
import os
import pickle
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

ALIGNMENT = 64
"""Every array begins at a multiple of it, as vector instructions like it."""


def pack(items: Sequence[Any]) -> tuple[int, list[int]]:
    """An open file descriptor of unnamed memory that holds the items, and the sizes of its parts.

    The memory is a ``memfd``, which no ``/dev/shm`` limits (64 MB in a container by default); where the system has
    none, a deleted temporary file. Raises ``OSError`` saying how much memory there was not.
    """
    arrays: list[pickle.PickleBuffer] = []
    described = io.BytesIO()
    _Pickler(described, protocol=5, buffer_callback=arrays.append).dump(list(items))
    parts = [described.getbuffer(), *(array.raw() for array in arrays)]
    sizes = [len(part) for part in parts]
    descriptor = _unnamed_memory()
    try:
        with open(descriptor, "wb", buffering=0, closefd=False) as file:
            for part in parts:
                _write(file, part)
                file.seek(-part.nbytes % ALIGNMENT, os.SEEK_CUR)
        os.ftruncate(descriptor, _total(sizes))
    except OSError as error:
        os.close(descriptor)
        wanted = f"{_total(sizes) / 2**20:.1f} MiB for {len(items)} items"
        raise OSError(error.errno, f"no memory to hand over {wanted} ({error.strerror}); take fewer workers") from error
    return descriptor, sizes


def unpack(descriptor: int, sizes: Sequence[int]) -> list[Any]:
    """The items of :func:`pack`, whose arrays lie in that memory; it goes when they go. Closes the descriptor."""
    try:
        memory = mmap.mmap(descriptor, _total(sizes), **_AT_ONCE)
    finally:
        os.close(descriptor)
    parts, position = [], 0
    for size in sizes:
        parts.append(memoryview(memory)[position : position + size])
        position += size + -size % ALIGNMENT
    items: list[Any] = pickle.loads(parts[0], buffers=parts[1:])  # written by our own worker
    return items


class _Pickler(pickle.Pickler):
    """Tensors as the NumPy arrays they are: only those are handed over outside the pickle."""

    def reducer_override(self, value: Any) -> Any:
        if type(value) is Tensor and value.device.type == "cpu":
            return torch.from_numpy, (value.detach().numpy(),)
        return NotImplemented


_AT_ONCE: dict[str, int] = {"flags": mmap.MAP_SHARED | mmap.MAP_POPULATE} if sys.platform == "linux" else {}
"""All pages in one call, not one fault after the other."""


def _total(sizes: Sequence[int]) -> int:
    return sum(size + -size % ALIGNMENT for size in sizes)


def _unnamed_memory() -> int:
    if sys.platform == "linux":
        return os.memfd_create("items")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _write(file: io.FileIO, part: memoryview) -> None:
    written = 0
    while written < part.nbytes:  # the kernel takes at most 2 GiB at once
        written += file.write(part[written:])
