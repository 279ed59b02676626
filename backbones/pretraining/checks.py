"""What would end a training at its first step, found before it: a batch too large or too small, views too small."""

from collections.abc import Sequence

import torch

from backbones.pretraining.encoder import TokenEncoder
from backbones.pretraining.method import Method
from backbones.pretraining.views.settings import ViewGroup


def check_images(global_batch: int, images: int) -> None:
    """Raises ``ValueError`` for a batch larger than the set."""
    if global_batch > images:
        raise ValueError(
            f"recipe.global_batch is {global_batch}, but there are {images} images to train on; set at most {images}, "
            "and the learning rate with it"
        )


def check_comparisons(method: str, built: Method, global_batch: int) -> None:
    """Raises ``ValueError`` for a batch of one where a loss compares images with each other."""
    if built.whole_batch and global_batch < 2:
        raise ValueError(f"recipe.global_batch is 1, but {method} compares the images of a batch with each other")


@torch.no_grad()
def check_views_fit(built: Method, groups: Sequence[ViewGroup]) -> None:
    """Raises ``ValueError`` for views smaller than a patch, and of sizes that the architecture does not take."""
    encoder = built.encoder
    for size in sorted({group.size or min(encoder.size) for group in groups}):
        if isinstance(encoder, TokenEncoder) and size < encoder.patch:
            raise ValueError(f"views of {size} pixels are smaller than a patch of {encoder.patch} of the encoder")
        shape = encoder.size if size == min(encoder.size) else (size, size)
        training = built.training
        try:
            encoder.eval()(torch.zeros(1, 3, *shape))
        except (RuntimeError, ValueError, AssertionError) as error:
            reason = str(error).partition("\n")[0]
            raise ValueError(
                f"{encoder.backbone.card.architecture} takes no views of {size} pixels: {reason}"
            ) from None
        finally:
            built.train(training)
