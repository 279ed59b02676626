"""Retrieval where right answers are judged image by image, landmarks say: sides, questions and what is reported."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from tasks.base import Note, Outputs, Score
from tasks.datasets.base import Dataset
from tasks.datasets.partition import Part, whole_part
from tasks.datasets.relevance import Relevance
from tasks.retrieval.lines import Asked, Line, nearest, ranked
from tasks.retrieval.ranking import Blocks

Metrics = Mapping[str, Callable[[Blocks], float]]
"""What is computed of each ranking; a level's name comes after an underscore."""

SHOWN = 5
"""Images ranked first that the outputs name."""


def judged_refusal(dataset: Dataset) -> str | None:
    """Why a dataset has no judged answers to look for; None where it has."""
    if dataset.relevance is None:
        return (
            f"dataset {dataset.name!r} does not say which images of its gallery answer each query (relevance); "
            "for answers of the query's class ask the task retrieval"
        )
    for split in ("query", "gallery"):
        if not len(dataset.splits.get(split, ())):
            return f"dataset {dataset.name!r}: it has no images in {split}"
    try:
        dataset.relevance.check(len(dataset.splits["query"]), len(dataset.splits["gallery"]))
    except ValueError as error:
        return f"dataset {dataset.name!r}: {error}"
    for split in ("query", "gallery"):
        names = dataset.splits[split].images.names
        if len(set(names)) < len(names):
            return f"dataset {dataset.name!r}: {len(names) - len(set(names))} names are in its {split} twice"
    if not len(dataset.relevance.easy.rows) + len(dataset.relevance.hard.rows):
        return f"dataset {dataset.name!r}: no query has a right answer in the gallery"
    return None


def sides(dataset: Dataset) -> tuple[Part, Part]:
    """Queries and gallery, whole."""
    query, gallery = (whole_part(name, dataset.splits[name]) for name in ("query", "gallery"))
    return query, gallery


Level = Literal["all", "easy", "medium", "hard"]


def asked(relevance: Relevance, query: int, level: Level) -> Asked:
    """Right and ignored rows of one query (Radenovic et al. 2018): easy or hard answers stand in nobody's way where
    only the others are asked for, and junk never does.
    """
    easy, hard, junk = (lists.of_query(query) for lists in (relevance.easy, relevance.hard, relevance.junk))
    right, ignored = {
        "easy": ([easy], [hard, junk]),
        "medium": ([easy, hard], [junk]),
        "hard": ([hard], [easy, junk]),
        "all": ([easy, hard], [junk]),
    }[level]
    return Asked(np.concatenate(right), np.concatenate(ignored))


@dataclass
class Answered:
    """The queries that have a right answer at one level: their rows, rankings, and what came first for each."""

    rows: list[int] = field(default_factory=list)
    rankings: list[Blocks] = field(default_factory=list)
    first: list[tuple[list[int], set[int]]] = field(default_factory=list)
    """Gallery rows ranked first, and all that are right."""


def judge(
    relevance: Relevance, levels: Sequence[Level], metrics: Metrics, lines: Iterable[Line], sides: tuple[Part, Part]
) -> Iterator[Score | Outputs | Note]:
    """Scores of every level over the queries that have an answer there, and what came first for each of those."""
    found = {level: Answered() for level in levels}
    for query, line in enumerate(lines):
        questions = [asked(relevance, query, level) for level in levels]
        for level, question, ranking in zip(levels, questions, ranked(line, questions), strict=True):
            if ranking is not None:
                found[level].rows.append(query)
                found[level].rankings.append(ranking)
                first = nearest(line, question.ignored, SHOWN).tolist()
                found[level].first.append((first, set(question.right.tolist())))
    for level, answered in found.items():
        yield from _report(level, metrics, answered, sides)


def _report(
    level: Level, metrics: Metrics, answered: Answered, sides: tuple[Part, Part]
) -> Iterator[Score | Outputs | Note]:
    queries, gallery = sides
    ending, split = ("", "test") if level == "all" else (f"_{level}", level)
    if hopeless := len(queries) - len(answered.rows):
        yield Note(f"queries_without_answer{ending}", f"{hopeless} of {len(queries)} queries are left out", True)
    if not answered.rows:
        return
    values = {name: np.array([metric(ranking) for ranking in answered.rankings]) for name, metric in metrics.items()}
    for name, column in values.items():
        yield Score(f"{name}{ending}", float(column.mean()), column, split)
    columns = {
        "item": np.array([queries.names[row] for row in answered.rows], dtype=object),
        "n_positives": np.array([int(ranking.right.sum()) for ranking in answered.rankings]),
    }
    for place in range(SHOWN):
        rows = [first[place] if place < len(first) else None for first, _ in answered.first]
        names = ["" if row is None else gallery.names[row] for row in rows]
        columns[f"nearest_{place + 1}"] = np.array(names, dtype=object)
        hits = [row in right for row, (_, right) in zip(rows, answered.first, strict=True)]
        columns[f"right_{place + 1}"] = np.array(hits, dtype=bool)
    yield Outputs(columns, split)
