"""How readouts are called, ``WHERE/POOLING``, and in which order they are promising."""


def of_blocks(count: int, has_cls: bool) -> tuple[str, ...]:
    """A transformer's of one stride: both poolings of the last block, each of the last four, then deep to shallow.

    >>> of_blocks(2, has_cls=False)
    ('last2/mean', 'block1/mean', 'block0/mean')
    """
    poolings = ("cls", "mean") if has_cls else ("mean",)
    both = (f"block{count - 1}/cls+mean",) * has_cls
    several = tuple(f"last{min(4, count)}/{pooling}" for pooling in poolings)
    return (*both, *several, *(f"block{block}/{pooling}" for block in reversed(range(count)) for pooling in poolings))


def of_stages(count: int) -> tuple[str, ...]:
    """Of anything with maps of several strides: deep to shallow.

    >>> of_stages(2)
    ('stage1/mean', 'stage0/mean')
    """
    return tuple(f"stage{stage}/mean" for stage in reversed(range(count)))


def places(readout: str, count: int) -> tuple[list[int], list[str]]:
    """Which of ``count`` blocks or stages a readout is of, in order of depth, and what is taken of each.

    >>> places("last2/cls", 12), places("block3/cls+mean", 12)
    (([10, 11], ['cls']), ([3], ['cls', 'mean']))
    """
    where, _, pooling = readout.partition("/")
    number = int(where.lstrip("abcdefghijklmnopqrstuvwxyz"))
    chosen = list(range(count - number, count)) if where.startswith("last") else [number]
    return chosen, pooling.split("+")
