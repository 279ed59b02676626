"""A backbone under a head for every pixel, and its loss: what segmentation trains."""

from collections.abc import Iterable, Mapping

import torch
from jaxtyping import Float, Float32, UInt8
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate

from backbones.training.trainee import Trainee
from tasks.datasets.label_maps import VOID
from tasks.segmentation.chosen import Head
from tasks.segmentation.crops_stream import LabelledBatch
from tasks.segmentation.linear_head import LinearHead
from tasks.segmentation.upernet_head import UPerNetHead
from tasks.trunk import Trunk

FINEST = 4
"""Maps of a finer stride are left out where there are others: they cost most and are hardly more than edges."""
STEADY = 1e-5
"""Added to a variance, as BatchNorm does: a channel that never changes stays at zero."""


class Standardised(nn.Module):
    """Every channel of every map less its mean and over its deviation on images it is shown once (:meth:`settle`).

    What a BatchNorm without scale and shift comes to over a frozen backbone, but the same from the first step on and
    whatever the batch: without it one learning rate would not suit channels and families whose features differ in size
    by orders of magnitude.
    """

    def __init__(self, channels: Mapping[int, int]) -> None:
        super().__init__()
        self.strides = sorted(channels)
        for stride in self.strides:
            self.register_buffer(f"mean_{stride}", torch.zeros(channels[stride], 1, 1))
            self.register_buffer(f"factor_{stride}", torch.ones(channels[stride], 1, 1))

    def forward(self, maps: Mapping[int, Tensor]) -> dict[int, Tensor]:
        """The maps of its strides, fine to coarse."""
        return {
            stride: (maps[stride] - self.get_buffer(f"mean_{stride}")) * self.get_buffer(f"factor_{stride}")
            for stride in self.strides
        }

    def settle(self, shown: Iterable[Mapping[int, Tensor]]) -> None:
        """Take the statistics of these. Raises ``ValueError`` where they are not finite."""
        sums: dict[int, Tensor] = {}
        for maps in shown:
            for stride in self.strides:
                values = maps[stride].float().cpu().double().transpose(0, 1).flatten(1)
                count = torch.full((len(values),), float(values.shape[1]), dtype=torch.float64)
                sums[stride] = sums.get(stride, 0) + torch.stack([count, values.sum(1), values.square().sum(1)])
        for stride, (count, total, squares) in sums.items():
            mean = total / count
            variance = (squares / count - mean.square()).clamp_min(0)
            if not variance.isfinite().all():
                raise ValueError(f"the features at stride {stride} are not all finite numbers (NaN or infinite)")
            self.get_buffer(f"mean_{stride}").copy_(mean.view(-1, 1, 1))
            self.get_buffer(f"factor_{stride}").copy_((variance + STEADY).rsqrt().view(-1, 1, 1))


class Network(nn.Module):
    """Images to logits at the head's finest stride."""

    def __init__(self, trunk: Trunk, head: Head, classes: int, width: int) -> None:
        super().__init__()
        found = trunk.channels()
        channels = {stride: found[stride] for stride in found if stride >= min(FINEST, max(found))}
        self.trunk, self.standardised = trunk, Standardised(channels)
        self.head = LinearHead(channels, classes) if head == "linear" else UPerNetHead(channels, classes, width)

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch classes rows columns"]:
        """A logit for each class and cell."""
        logits: Tensor = self.head(self.standardised(self.trunk.maps(images)))
        return logits


class Segmenter(Trainee):
    """The network and the cross-entropy of its logits, resized to the images, with the classes of their pixels."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, batch: LabelledBatch) -> Float32[Tensor, ""]:
        """See :func:`pixel_loss`."""
        logits = interpolate(self.network(batch.images).float(), size=batch.labels.shape[-2:], mode="bilinear")
        return pixel_loss(logits, batch.labels)

    def layers(self) -> list[tuple[str, list[nn.Parameter]]]:
        """The backbone's by depth, where they are trained, then the head."""
        return [*self.network.trunk.layers(), ("head", list(self.network.head.parameters()))]

    def recompute(self) -> None:
        """Activations of the backbone's blocks are computed again in the backward pass; see :meth:`Trunk.recompute`."""
        self.network.trunk.recompute()


def pixel_loss(
    logits: Float32[Tensor, "batch classes height width"], labels: UInt8[Tensor, "batch height width"]
) -> Float32[Tensor, ""]:
    """Summed cross-entropy of the pixels that have a class over the count of all pixels.

    So a batch in which none has one gives 0, not 0 / 0, and every pixel weighs the same however the global batch is
    divided among devices.
    """
    return cross_entropy(logits, labels.long(), ignore_index=VOID, reduction="sum") / labels.numel()
