"""Which images of the gallery answer a query, where that is judged image by image and not by a class they share."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Int64
from numpy.typing import NDArray

from tasks.datasets.sources import some

GRADES = ("easy", "hard", "junk")


@dataclass(frozen=True)
class RowLists:
    """A list of gallery rows a query, end to end: query ``i`` has ``rows[starts[i]:starts[i + 1]]``, ascending."""

    starts: Int64[np.ndarray, " queries_and_one"]
    rows: Int64[np.ndarray, " listed"]

    @classmethod
    def of(cls, lists: Iterable[Iterable[int]]) -> "RowLists":
        """
        >>> RowLists.of([[4, 2], [], [0]]).of_query(0).tolist()
        [2, 4]
        """
        each = [sorted(rows) for rows in lists]
        starts = np.cumsum([0, *map(len, each)], dtype=np.int64)
        return cls(starts, np.asarray([row for rows in each for row in rows], dtype=np.int64))

    def __len__(self) -> int:
        return len(self.starts) - 1

    def of_query(self, query: int) -> NDArray[np.int64]:
        """The rows of one query."""
        return self.rows[self.starts[query] : self.starts[query + 1]]


@dataclass(frozen=True)
class Relevance:
    """For each row of ``query`` the rows of ``gallery`` that are right, and ``junk``: taken out before it is ranked.

    Right answers are ``easy`` or ``hard``; where a set does not grade them all are easy. Junk is neither right nor
    wrong: unclear views (Philbin et al. 2007), or the query itself where it is in the gallery too. Whatever is in no
    list is wrong. No row has two grades for one query.
    """

    easy: RowLists
    hard: RowLists
    junk: RowLists

    @cached_property
    def is_graded(self) -> bool:
        """Whether any answer is hard."""
        return bool(len(self.hard.rows))

    def right(self, query: int) -> NDArray[np.int64]:
        """Every right answer, easy or hard."""
        return np.concatenate([self.easy.of_query(query), self.hard.of_query(query)])

    def check(self, queries: int, gallery: int) -> None:
        """Raise ``ValueError`` where the lists are not those of so many queries and gallery images."""
        for grade in GRADES:
            lists: RowLists = getattr(self, grade)
            if len(lists) != queries:
                raise ValueError(f"the {grade} lists are of {len(lists)} queries, and there are {queries}")
            first, last = int(lists.rows.min(initial=0)), int(lists.rows.max(initial=0))
            if len(lists.rows) and not 0 <= first <= last < gallery:
                raise ValueError(f"the {grade} lists name rows {first}..{last}; the gallery has 0..{gallery - 1}")
        for query in range(queries):
            rows = np.concatenate([self.right(query), self.junk.of_query(query)])
            if len(np.unique(rows)) < len(rows):
                raise ValueError(f"query {query} lists a gallery row twice")


@dataclass(frozen=True)
class Judged:
    """The judgement of one query as a reader finds it: names of gallery images by grade."""

    easy: Sequence[str] = ()
    hard: Sequence[str] = ()
    junk: Sequence[str] = ()

    def lines(self, query: str) -> list[tuple[str, ...]]:
        """What the manifest says of it, whatever order the names came in."""
        return [("relevance", query, grade, *sorted(getattr(self, grade))) for grade in GRADES]


def relevance_of(
    judged: Mapping[str, Judged], queries: Sequence[str], gallery: Sequence[str], left_out: Collection[str] = ()
) -> Relevance:
    """The rows of what was judged by name; a query that was not judged has no right answers.

    ``left_out`` names images that could not be read: they are in no list. Raises ``ValueError`` for any other name that
    is not there, and for an image listed twice for one query.
    """
    kept = {query: one for query, one in judged.items() if query not in left_out}
    if strangers := sorted(set(kept) - set(queries)):
        raise ValueError(f"{len(strangers)} judged queries are none of the set's: {some(strangers)}")
    row = {name: at for at, name in enumerate(gallery)}
    found: dict[str, list[list[int]]] = {grade: [] for grade in GRADES}
    for query in queries:
        one = kept.get(query, Judged())
        named = [*one.easy, *one.hard, *one.junk]
        if len(set(named)) < len(named):
            twice = [name for name in dict.fromkeys(named) if named.count(name) > 1]
            raise ValueError(f"query {query!r} lists {some(twice)} twice")
        if absent := [name for name in named if name not in row and name not in left_out]:
            raise ValueError(f"query {query!r} lists {len(absent)} images that are not in the gallery: {some(absent)}")
        for grade in GRADES:
            found[grade].append([row[name] for name in getattr(one, grade) if name in row])
    return Relevance(**{grade: RowLists.of(lists) for grade, lists in found.items()})
