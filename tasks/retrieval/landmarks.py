"""Retrieval of what a dataset judges to be right, query by query: landmarks, as their protocols ask for them."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import ClassVar, Literal

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from backbones.base import Backbone
from tasks.base import Data, Note, Outputs, Score, Task, Tools
from tasks.retrieval.judged import Level, Metrics, judge, judged_refusal, sides
from tasks.retrieval.official import clipped_precision, trapezoidal_precision, truncated_precision
from tasks.retrieval.ranking import average_precision, hit
from tasks.retrieval.refined import Refined

CUTOFFS = (1, 5, 10)


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class JudgedRetrieval(Refined, Task):
    """Rank a gallery by cosine for each query; right is every image the dataset judged so, and junk is taken out.

    Means over the queries that have a right answer; those that have none are counted.

    - mAP@100: average precision of the first 100 ranks, over the number of right answers or 100 where there are more
      (Google Landmarks v2, Weyand et al. 2020);
    - mAP: average precision of the whole ranking, the mean over right answers of the precision at their ranks;
    - mAP_trapezoidal: the same with the precision just above each rank averaged in (Philbin et al. 2007);
    - recall@k: whether any right answer is among the first k.

    Equal similarities (to 1e-6) are taken in every order and averaged. Images are seen as each backbone preprocesses
    them; published landmark numbers are of whole images of up to 1024 pixels.
    """

    name: ClassVar[str] = "retrieval.judged"
    protocol_version: ClassVar[int] = 1
    headline: ClassVar[str] = "mAP@100"
    roles: ClassVar[Mapping[str, Literal["one", "many", "any"]]] = {"dataset": "one", "whitening": "any"}
    levels: ClassVar[tuple[Level, ...]] = ("all",)
    metrics: ClassVar[Metrics] = {
        "mAP@100": partial(truncated_precision, k=100),
        "mAP": average_precision,
        "mAP_trapezoidal": trapezoidal_precision,
        **{f"recall@{k}": partial(hit, k=k) for k in CUTOFFS},
    }

    def uses_seed(self, data: Data) -> bool:
        """Never: nothing is drawn."""
        return False

    def refusal(self, backbone: Backbone, data: Data) -> str | None:
        """A dataset without judged answers, or an option that does not fit the backbone or the data."""
        dataset = data["dataset"][0]
        return judged_refusal(dataset) or self.unrefinable(backbone, data, sides(dataset))

    def run(self, backbone: Backbone, data: Data, tools: Tools, seed: int) -> Iterator[Score | Outputs | Note]:
        """Rank the gallery for every query, and look at each ranking once a level."""
        if why := self.refusal(backbone, data):
            raise ValueError(why)
        dataset = data["dataset"][0]
        assert dataset.relevance is not None
        compared, notes = self.compared(backbone, data, sides(dataset), tools.extract)
        yield from notes
        yield from judge(dataset.relevance, self.levels, self.metrics, self.lines(compared), sides(dataset))


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Landmarks(JudgedRetrieval):
    """The same where answers are graded: right are the easy, the easy and hard (medium), or the hard ones alone.

    The protocols of revisited Oxford and Paris (Radenovic et al. 2018): junk is taken out before ranking, and so are
    the answers of the other grade at easy and at hard. Means over the queries that have an answer at that level, which
    ends each name; a level's outputs are the split of that name.

    - mAP_medium: the official number, average precision by trapezoids (the precision just above and at the rank of
      each right answer, averaged);
    - mAP_at_ranks_medium: without trapezoids, as the mAP of the task retrieval;
    - mP@k_medium: precision among the first k, or down to the last right answer where that is above.
    """

    name: ClassVar[str] = "retrieval.landmarks"
    headline: ClassVar[str] = "mAP_medium"
    levels: ClassVar[tuple[Level, ...]] = ("easy", "medium", "hard")
    metrics: ClassVar[Metrics] = {
        "mAP": trapezoidal_precision,
        "mAP_at_ranks": average_precision,
        **{f"mP@{k}": partial(clipped_precision, k=k) for k in CUTOFFS},
    }

    def refusal(self, backbone: Backbone, data: Data) -> str | None:
        """Also a dataset that grades no answer as hard."""
        if why := super().refusal(backbone, data):
            return why
        relevance = data["dataset"][0].relevance
        if relevance is None or relevance.is_graded:
            return None
        return f"dataset {data['dataset'][0].name!r} grades no answer as hard; ask the task {JudgedRetrieval.name}"


TASKS = {"retrieval.judged": JudgedRetrieval, "retrieval.landmarks": Landmarks}
