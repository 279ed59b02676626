"""An exponential moving average of the weights (EMA), by torch's own AveragedModel."""

from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from backbones.training.trainee import Trainee


def average_of(trainee: Trainee, decay: float) -> AveragedModel:
    """A copy that follows: after a step t, e_t = decay e_(t-1) + (1 - decay) w_t, buffers too; it starts at w_1.

    Buffers of whole numbers (BatchNorm's count) follow rounded down, and are read by nobody.
    """
    follow = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
    average = AveragedModel(trainee, multi_avg_fn=follow, use_buffers=True)
    average.requires_grad_(False)
    return average
