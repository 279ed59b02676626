"""Class lists of ImageNet heads, as WordNet ids."""

from timm.data.imagenet_info import ImageNetInfo, infer_imagenet_subset


def wordnet_ids(outputs: int) -> tuple[str, ...]:
    """The classes of a head with that many outputs, in order; empty where no ImageNet list has that length.

    >>> wordnet_ids(1000)[0], wordnet_ids(1000)[-1], wordnet_ids(512)
    ('n01440764', 'n15075141', ())
    """
    subset = infer_imagenet_subset({"num_classes": outputs})
    return tuple(ImageNetInfo(subset).label_names()) if subset else ()  # type: ignore[no-untyped-call]
