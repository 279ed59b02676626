"""The health of a training, asked after every epoch: numbers of fixed images and views, probes, and an alarm."""

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from backbones.base import Backbone
from backbones.images import decode_row
from backbones.preprocessing import choose, fit_by
from backbones.pretraining.encoder import Encoder
from backbones.pretraining.health.alignment import alignment
from backbones.pretraining.health.batch_statistics import batch_statistics
from backbones.pretraining.health.collapse import Sign, fallen, lacking, sign_of, signs_of
from backbones.pretraining.health.deviation import deviation
from backbones.pretraining.health.lidar import lidar
from backbones.pretraining.health.rank_me import rank_me
from backbones.pretraining.health.uniformity import uniformity
from backbones.pretraining.method import Batch, View
from backbones.pretraining.pretrainee import Pretrainee
from backbones.pretraining.views.stream import ViewStream
from backbones.training.evaluation import evaluating
from backbones.training.images_stream import prepared
from backbones.training.outcomes import CollapsedError
from backbones.training.trainee import Trainee

IMAGES, VIEWED = 1024, 256
"""Images looked at as they are, and in views. They are the most that a rank can be."""
TOGETHER = 64
"""Images that go through an encoder at once."""
Alarm = Literal["stop", "warn"]
EMBEDDING = "embedding"


class Health:
    """To be given to ``fit(evaluate=...)``. Made before anything is trained: that is what it compares with.

    Answers, always by the same names,

    - of the encoder that is trained: ``rank_me``, ``deviation`` and ``uniformity`` of images as they are evaluated,
      ``alignment`` and ``lidar`` of views of the encoder's size, where there are two or more;
    - ``NAME_rank_me``, ``NAME_deviation`` and, of two views, ``NAME_closeness`` of each output that the method
      says to watch, in training's normalisation (where none is of vectors, of the ``embedding``); ``collapsed``: 1
      where they have fallen too far, or one of the method's own is below its least;
    - what the method says itself; and each of ``probes``, which are given the backbone that is published.

    Collapsed, ``alarm="stop"`` raises :class:`~backbones.training.outcomes.CollapsedError` and ``"warn"`` warns, once
    until it has recovered. ``stream`` is what is trained on: images and views are spread over it.
    """

    def __init__(
        self, trainee: Pretrainee, stream: ViewStream, probes: Mapping[str, Callable[[Backbone], float]], alarm: Alarm
    ) -> None:
        self.images, self.rows, self.views = (
            stream.images,
            stream.rows[_spread(len(stream), IMAGES)],
            fixed_views(stream),
        )
        self.probes, self.alarm = dict(probes), alarm
        self._pixels: Tensor | None = None
        self._collapsed = False
        self.before = self._signs(trainee)

    def __call__(self, trainee: Trainee) -> dict[str, float]:
        """Changes neither weights nor buffers nor modes."""
        assert isinstance(trainee, Pretrainee)
        signs, own = self._signs(trainee), self._own(trainee)
        findings = fallen(self.before, signs) + lacking(own, trainee.method.least(trainee.progress))
        if findings and self.alarm == "stop":
            raise CollapsedError(findings)
        if findings and not self._collapsed:
            warnings.warn(str(CollapsedError(findings)), stacklevel=2)
        self._collapsed = bool(findings)
        with evaluating(trainee), torch.no_grad(), self._same_chance(trainee):
            return {
                **self._of_encoder(trainee.method.encoder),
                **{f"{name}_{number}": value for name, number, value in _rows(signs)},
                "collapsed": float(self._collapsed),
                **own,
                **{name: float(probe(trainee.method.published())) for name, probe in self.probes.items()},
            }

    @torch.no_grad()
    def _signs(self, trainee: Pretrainee) -> dict[str, Sign]:
        """Of the outputs by their names; where none is of vectors (but of pixels, of patches) of the embedding."""
        batch = self._batch(trainee)
        with batch_statistics(trainee), self._same_chance(trainee):
            watched = trainee.method.watched(trainee.method.represent(batch), batch.progress)
            seen = signs_of(watched, len(batch.views))
            return seen or {EMBEDDING: sign_of(trainee.method.encoder(batch.views[0].images))}

    def _own(self, trainee: Pretrainee) -> dict[str, float]:
        """The method's numbers."""
        with evaluating(trainee), torch.no_grad(), self._same_chance(trainee):
            return trainee.method.health(self._batch(trainee))

    @staticmethod
    @contextmanager
    def _same_chance(trainee: Pretrainee) -> Iterator[None]:
        """What is drawn (masks) is the same every time, and the caller's generators stay as they are."""
        device = _device(trainee)
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(0)
            yield

    def _of_encoder(self, encoder: Encoder) -> dict[str, float]:
        pixels = self._fitted(encoder.backbone)
        device = _device(encoder)
        parts = torch.split(pixels, TOGETHER)
        plain = torch.cat([encoder(prepared(list(part), encoder.backbone.preprocess, device)) for part in parts])
        numbers = {"rank_me": rank_me(plain), "deviation": deviation(plain), "uniformity": uniformity(plain)}
        alike = [view.images.to(device) for view in self.views.views if view.images.shape[-2:] == encoder.size]
        if len(alike) > 1:
            shares = [torch.split(view, TOGETHER) for view in alike]
            seen = torch.stack([torch.cat([encoder(share) for share in view]) for view in shares], dim=1)
            numbers |= {"alignment": alignment(seen), "lidar": lidar(seen)}
        return numbers

    def _fitted(self, backbone: Backbone) -> Tensor:
        """Decoded where they are first asked for: what is sent to another process stays small."""
        if self._pixels is None:
            decoded = [decode_row(self.images, row) for row in self.rows.tolist()]
            fit = fit_by(choose(backbone.preprocess, decoded[:4]), backbone.preprocess)
            self._pixels = torch.stack([fit(image).permute(1, 2, 0) for image in decoded]).contiguous()
        return self._pixels

    def _batch(self, trainee: Pretrainee) -> Batch:
        device = _device(trainee)
        views = tuple(View(*(part.to(device) for part in view)) for view in self.views.views)
        return Batch(views, self.views.rows.to(device), trainee.progress)


def fixed_views(stream: ViewStream, most: int = VIEWED) -> Batch:
    """Views of images evenly spread over a training's, as its first epoch has them; on the CPU."""
    items = [stream.load(index, epoch=0) for index in _spread(len(stream), most).tolist()]
    return stream.batch(items, step=0, device=torch.device("cpu"))


def onsets(epochs: list[dict[str, float]]) -> list[int]:
    """Of rows of epochs (``Fitted.epochs``), those after which the alarm began: what a record must say.

    >>> onsets([{"epoch": 1.0, "collapsed": 0.0}, {"epoch": 2.0, "collapsed": 1.0}, {"epoch": 3.0, "collapsed": 1.0}])
    [2]
    """
    states = [row.get("collapsed", 0) == 1 for row in epochs]
    return [int(row["epoch"]) for row, was, now in zip(epochs, [False, *states], states, strict=False) if now > was]


def _spread(count: int, most: int) -> NDArray[np.int64]:
    return np.linspace(0, count - 1, min(most, count)).astype(np.int64)


def _rows(signs: Mapping[str, Sign]) -> Iterator[tuple[str, str, float]]:
    for name, sign in signs.items():
        for number, value in sign._asdict().items():
            if value is not None:
                yield name, number, value


def _device(module: torch.nn.Module) -> torch.device:
    return next(module.parameters()).device
