"""A backbone's results as the Hugging Face Hub shows them on a model's page: the ``model-index`` of a model card."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml

from results.record import Record, ScoreRow

TASKS = {
    "classification": "image-classification",
    "detection": "object-detection",
    "segmentation": "image-segmentation",
    "retrieval": "image-feature-extraction",
    "ood": "image-classification",
}
"""What the Hub calls our families of tasks; others keep their own name, which it shows as well."""


def model_index(backbone: str, records: Iterable[Record]) -> str:
    """YAML for a card's front matter: an entry a setting and split, numbers the mean over seeds.

    ``records`` are the comparable ones of a board. Raises ``ValueError`` where none are of that backbone.
    """
    by_setting: dict[str, list[Record]] = defaultdict(list)
    names = set()
    for record in records:
        names.add(record.cell.backbone)
        if record.cell.backbone == backbone:
            by_setting[record.cell.setting()].append(record)
    if not by_setting:
        known = ", ".join(sorted(names)) or "none"
        raise ValueError(f"no results of backbone {backbone!r:.200}; there are some of: {known:.1000}")
    results = [result for setting in sorted(by_setting) for result in _results(by_setting[setting])]
    index = {"model-index": [{"name": backbone, "results": results}]}
    return str(yaml.safe_dump(index, sort_keys=False, allow_unicode=True))


def _results(seeds: Sequence[Record]) -> list[dict[str, Any]]:
    """Of one setting."""
    cell = seeds[0].cell
    family = cell.task.partition(".")[0]
    roles = cell.roles()
    tested = ", ".join(cell.datasets[roles[-1]]) if roles else ""
    scores: dict[str, dict[str, list[ScoreRow]]] = defaultdict(lambda: defaultdict(list))
    for record in seeds:
        for row in record.scores:
            scores[row.split][row.metric].append(row)
    return [
        {
            "task": {"type": TASKS.get(family, family), "name": cell.task},
            "dataset": {"type": tested, "name": cell.setting(), "split": split, "args": dict(cell.settings)},
            "metrics": metrics,
        }
        for split, by_metric in scores.items()
        if (metrics := [_metric(name, found, seeds) for name, found in by_metric.items() if _is_whole(found, seeds)])
    ]


def _is_whole(found: Sequence[ScoreRow], seeds: Sequence[Record]) -> bool:
    """A mean over some of the seeds would be of another question."""
    return len(found) == len(seeds) and all(row.value is not None for row in found)


def _metric(name: str, found: Sequence[ScoreRow], seeds: Sequence[Record]) -> Mapping[str, Any]:
    told = {
        "interval_95": [_mean([row.low for row in found]), _mean([row.high for row in found])],
        "items": found[0].n,
        "seeds": len(seeds),
        "unit": found[0].unit,
        "records": sorted(record.key for record in seeds),
    }
    return {"type": name, "value": _mean([row.value for row in found]), "args": told}


def _mean(values: Sequence[float | None]) -> float | None:
    present = [value for value in values if value is not None]
    return sum(present) / len(present) if len(present) == len(values) else None
