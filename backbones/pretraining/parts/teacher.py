"""A teacher: a copy of a student that follows it as an exponential moving average (EMA) and has no gradients."""

import copy
from typing import Any

import torch
from torch import nn

from backbones.training.trainee import Follower


class Teacher(Follower):
    """A copy of ``student``. :meth:`follow` moves it; calling it computes without gradients, in the training's mode."""

    def __init__(self, student: nn.Module) -> None:
        super().__init__()
        self.copy = copy.deepcopy(student).requires_grad_(False)

    @torch.no_grad()
    def forward(self, *arguments: Any) -> Any:
        """What the copy answers."""
        return self.copy(*arguments)

    @torch.no_grad()
    def follow(self, student: nn.Module, momentum: float) -> None:
        """theta_t <- m theta_t + (1 - m) theta_s for every parameter. Buffers (BatchNorm's) are the teacher's own."""
        pairs = zip(self.copy.parameters(), student.parameters(), strict=True)
        mine, theirs = map(list, zip(*pairs, strict=True))
        torch._foreach_lerp_(mine, theirs, 1 - momentum)
