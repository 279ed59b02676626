"""Right answers judged query by query: rows from names, and part of what a dataset is."""

from dataclasses import replace

import numpy as np
import pytest

from tasks.classification.parts import learning_refusal
from tasks.datasets.assembly import Found, assemble
from tasks.datasets.labelled_table import KINDS
from tasks.datasets.manifest import Item
from tasks.datasets.relevance import Judged, Relevance, RowLists, relevance_of
from tasks.datasets.sources import MemoryFiles
from tasks.datasets.targets import target_refusal

GALLERY = ("a", "b", "c", "d", "e")
JUDGED = {"p": Judged(easy=["e", "a"], hard=["c"], junk=["d"]), "q": Judged(hard=["b"])}


def test_rows_are_those_of_the_names():
    found = relevance_of(JUDGED, ["q", "none", "p"], GALLERY)
    assert [found.easy.of_query(i).tolist() for i in range(3)] == [[], [], [0, 4]]
    assert [found.hard.of_query(i).tolist() for i in range(3)] == [[1], [], [2]]
    assert found.junk.of_query(2).tolist() == [3]
    assert found.right(2).tolist() == [0, 4, 2]
    assert found.is_graded
    assert not relevance_of({"p": Judged(easy=["a"])}, ["p"], GALLERY).is_graded
    found.check(3, 5)


def test_what_could_not_be_read_is_in_no_list():
    found = relevance_of(JUDGED, ["p"], ("a", "b", "d", "e"), left_out={"c", "q"})
    assert found.right(0).tolist() == [0, 3]


@pytest.mark.parametrize(
    ("judged", "message"),
    [
        ({"p": Judged(easy=["a", "b"], junk=["b"])}, "query 'p' lists b twice"),
        ({"p": Judged(hard=["a", "a"])}, "query 'p' lists a twice"),
        ({"z": Judged()}, "1 judged queries are none of the set's: z"),
        ({"p": Judged(easy=["y", "a"])}, "query 'p' lists 1 images that are not in the gallery: y"),
    ],
)
def test_names_that_fit_nothing_are_refused(judged, message):
    with pytest.raises(ValueError, match=message):
        relevance_of(judged, ["p", "q"], GALLERY)


@pytest.mark.parametrize(
    ("queries", "gallery", "message"),
    [(1, 5, "are of 2 queries, and there are 1"), (2, 4, r"name rows 0\.\.4; the gallery has 0\.\.3")],
)
def test_lists_of_another_size_are_refused(queries, gallery, message):
    with pytest.raises(ValueError, match=message):
        relevance_of(JUDGED, ["p", "q"], GALLERY).check(queries, gallery)


def test_a_row_of_two_grades_is_refused():
    one, none = RowLists.of([[1]]), RowLists.of([[]])
    with pytest.raises(ValueError, match="query 0 lists a gallery row twice"):
        Relevance(one, none, one).check(1, 2)
    assert len(none) == 1


@pytest.fixture
def landmarks(make_png):
    """``landmarks(judged)``: a query and three images of the gallery, without classes."""
    contents = {f"{name}.png": make_png(seed) for seed, name in enumerate("qxyz")}
    items = [Item("query", "", "q.png", "q"), *(Item("gallery", "", f"{name}.png", name) for name in "zyx")]

    def make(judged, **changes):
        source = MemoryFiles("memory", contents | changes)
        return Found("landmarks", source, items, (), "memory", target="relevance", judged=judged)

    return make


def test_a_dataset_without_classes_carries_it(landmarks, options):
    dataset = assemble(landmarks({"q": Judged(easy=["z"], hard=["x"], junk=["y"])}), options)
    assert dataset.relevance is not None
    assert dataset.relevance.right(0).tolist() == [2, 0]  # sorted by name: x, y, z
    assert dataset.relevance.junk.of_query(0).tolist() == [1]
    assert dataset.classes == ()
    assert dataset.splits["gallery"].targets is None
    assert dataset.splits["gallery"].labels.tolist() == [-1, -1, -1]
    assert dataset.warnings == ()
    assert "has the right answers of each query" in (target_refusal(dataset) or "")
    assert target_refusal(dataset, ["relevance"]) is None
    assert "needs one class an image" in (learning_refusal(dataset) or "")


def test_it_is_part_of_the_identity(landmarks, options):
    judgements = [
        {"q": Judged(easy=["z", "x"])},
        {"q": Judged(easy=["z"])},
        {"q": Judged(hard=["z", "x"])},
        {"q": Judged(easy=["z", "x"], junk=["y"])},
        {},
        None,
    ]
    made = [assemble(landmarks(judged), options).manifest_sha256 for judged in judgements]
    assert len(set(made[:5])) == 5
    assert made[4] == made[5], "nothing judged is nothing said"
    again = assemble(landmarks({"q": Judged(easy=["x", "z"])}), options)
    assert again.manifest_sha256 == made[0]


def test_unreadable_images_leave_the_lists_with_the_gallery(landmarks, options):
    found = landmarks({"q": Judged(easy=["z", "x"])}, **{"x.png": b"no image"})
    with pytest.raises(ValueError, match=r"1 of 4 images cannot be read"):
        assemble(found, options)
    dataset = assemble(found, replace(options, skip_unreadable=True))
    assert dataset.relevance is not None
    assert dataset.splits["gallery"].images.names == ("y.png", "z.png")
    assert dataset.relevance.right(0).tolist() == [1]


def test_mistakes_name_the_dataset(landmarks, options):
    with pytest.raises(ValueError, match="dataset 'landmarks': query 'q' lists x twice"):
        assemble(landmarks({"q": Judged(easy=["x"], junk=["x"])}), options)


def test_a_table_cannot_say_it():
    assert "relevance" not in KINDS


def test_compact_lists_keep_empty_ones():
    lists = RowLists.of([[], [3, 1], []])
    assert lists.starts.tolist() == [0, 0, 2, 2]
    assert lists.rows.dtype == np.int64
