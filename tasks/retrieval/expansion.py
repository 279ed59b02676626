"""Alpha query expansion: a query asks again, with what it found the first time mixed in."""

import numpy as np
from jaxtyping import Float32

from tasks.features import normalised
from tasks.retrieval.lines import nearest, similarities


def expanded(
    queries: Float32[np.ndarray, "q dim"],
    gallery: Float32[np.ndarray, "n dim"],
    count: int,
    alpha: float,
    leave_one_out: bool = False,
) -> Float32[np.ndarray, "q dim"]:
    """Each query plus its ``count`` nearest x, every one weighed by (its cosine)^alpha (Radenovic et al. 2018).

    q' = q + sum of max(q.x, 0)^alpha x, scaled to length one. With alpha 0 all weigh the same (Chum et al. 2007). With
    ``leave_one_out`` query i is gallery row i, which it does not find. Of equals those first in the gallery are taken.
    """
    mixed = np.array(queries, dtype=np.float64)
    for query, line in enumerate(similarities(queries, gallery)):
        rows = nearest(line, np.arange(query, query + leave_one_out), count)
        weights = np.maximum(line[rows], 0.0).astype(np.float64) ** alpha
        mixed[query] += weights @ gallery[rows]
    return normalised(mixed)
