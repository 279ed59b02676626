"""A method as the loop trains it."""

from jaxtyping import Float32
from torch import Tensor, nn, no_grad

from backbones.pretraining.method import Progress
from tasks.classification.semi_supervised.method import Batch, MethodSettings
from tasks.classification.tuned_network import Answering, Network


class SemiTrainee(Answering):
    """``progress`` is that of the last forward pass."""

    def __init__(self, network: Network, settings: MethodSettings) -> None:
        super().__init__()
        self.method = settings.build(network)
        self.progress = Progress(0, 1, 1)

    def forward(self, batch: Batch) -> Float32[Tensor, ""]:
        """The method's loss."""
        self.progress = batch.progress
        return self.method.loss(batch)

    def layers(self) -> list[tuple[str, list[nn.Parameter]]]:
        """The network's."""
        return self._network.layers()

    @property
    def judged(self) -> nn.Module:
        """The method's choice: the network, or a teacher."""
        return self.method.judged

    def recompute(self) -> None:
        """Activations of the backbone's blocks are computed again in the backward pass; see :meth:`Trunk.recompute`."""
        self._network.trunk.recompute()

    def before_update(self) -> None:
        """Nothing: no method holds anything still."""

    @no_grad()
    def after_update(self) -> None:
        """The method's."""
        self.method.after_update(self.progress)

    @property
    def _network(self) -> Network:
        network = self.method.network
        assert isinstance(network, Network)
        return network
