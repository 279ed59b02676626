"""How the answers are judged: each class the same, and, where classes have an order, by how far off an answer is."""

from collections.abc import Iterator
from dataclasses import dataclass

from tasks.base import Note, Outputs, Score
from tasks.classification.metrics import mean_per_class, top_k_correct
from tasks.classification.objectives import Numbers, OneClass
from tasks.classification.report import report
from tasks.classification.target_reports import kappa_score, ordinal_scores
from tasks.datasets.partition import Part


@dataclass(frozen=True)
class Judged(OneClass):
    """Logits of classes, ``ordered`` or not."""

    ordered: bool = False
    headline = "mean_per_class"

    def merit(self, outputs: Numbers, part: Part) -> float:
        """Balanced accuracy, ties shared."""
        return float(mean_per_class(top_k_correct(outputs, part.labels, 1), part.labels).mean())

    def report(self, outputs: Numbers, part: Part, split: str = "test") -> Iterator[Score | Outputs | Note]:
        """Those of classification, Cohen's kappa, and with an order quadratic_kappa and mae."""
        yield from report(outputs, part.labels, part.names, split)
        yield from kappa_score(outputs.argmax(1), part.labels, split)
        if self.ordered:
            yield from ordinal_scores(outputs.argmax(1), part.labels, split)
