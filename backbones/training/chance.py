"""Chance in a model (dropout, drop path): torch's generators are seeded for each micro-batch, so no state is kept."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def seed_of(seed: int, step: int, part: int) -> int:
    """A 63-bit number that has nothing to do with those of other steps and parts."""
    digest = hashlib.blake2b(f"{seed} {step} {part}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def seed_chance(seed: int, step: int, part: int) -> None:
    """Before micro-batch ``part`` of a step; on every device."""
    torch.manual_seed(seed_of(seed, step, part))


@contextmanager
def callers_chance(device: torch.device) -> Iterator[None]:
    """The generators are given back as they were found."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        yield
