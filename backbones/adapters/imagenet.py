"""Class lists of ImageNet heads, as WordNet ids."""

from collections.abc import Sequence

from timm.data.imagenet_info import ImageNetInfo, infer_imagenet_subset


def wordnet_ids(outputs: int) -> tuple[str, ...]:
    """The classes of a head with that many outputs, in order; empty where no ImageNet list has that length.

    >>> wordnet_ids(1000)[0], wordnet_ids(1000)[-1], wordnet_ids(512)
    ('n01440764', 'n15075141', ())
    """
    subset = infer_imagenet_subset({"num_classes": outputs})
    return tuple(ImageNetInfo(subset).label_names()) if subset else ()  # type: ignore[no-untyped-call]


SPELT_OTHERWISE = 10
"""Most names of ImageNet-1k that a list may spell otherwise (torchvision's: 2); another order agrees nearly nowhere."""


def wordnet_ids_of(names: Sequence[str]) -> tuple[str, ...]:
    """WordNet ids where the names are those of ImageNet-1k in its order; any other list as it is.

    >>> wordnet_ids_of(["cat", "dog"])
    ('cat', 'dog')
    """
    known = ImageNetInfo("imagenet-1k").label_descriptions()
    differing = sum(_first_word(one) != _first_word(other) for one, other in zip(names, known, strict=False))
    return wordnet_ids(1000) if len(names) == 1000 and differing <= SPELT_OTHERWISE else tuple(names)


def _first_word(description: str) -> str:
    return description.partition(",")[0].strip().lower()
