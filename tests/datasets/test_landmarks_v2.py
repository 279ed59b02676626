"""Google Landmarks v2 retrieval: a small folder in the official format."""

import pytest

from tasks.catalogue import open_dataset

INDEX = ["0a1b2c", "0a1fff", "9e8d7c", "abcdef"]
TEST = ["111111", "222222", "333333", "444444"]
SOLUTION = """id,images,Usage
111111,abcdef 0a1b2c,Private
222222,9e8d7c,Public
333333,None,Ignored
444444,,Ignored
"""


def place(folder: str, name: str) -> str:
    return f"{folder}/{name[0]}/{name[1]}/{name[2]}/{name}.jpg"


@pytest.fixture
def write(tmp_path, make_tree):
    def written(solution: str) -> None:
        names = [*(place("index", name) for name in INDEX), *(place("test", name) for name in TEST)]
        root = make_tree(tmp_path / "gldv2", names)
        (root / "retrieval_solution_v2.1.csv").write_text(solution)
        (root / "index_image_to_landmark.csv").write_text("id,landmark_id\n")

    return written


def test_private_and_public_queries_ask_the_whole_index(write, options):
    write(SOLUTION)
    private, public = open_dataset("gldv2:gldv2", options), open_dataset("gldv2:gldv2#public", options)
    assert list(private.splits["gallery"].images.names) == [place("index", name) for name in INDEX]
    assert list(private.splits["query"].images.names) == [place("test", "111111")]
    assert private.relevance.right(0).tolist() == [0, 3]
    assert not private.relevance.is_graded
    assert list(public.splits["query"].images.names) == [place("test", "222222")]
    assert public.relevance.right(0).tolist() == [2]
    said = "2 queries of retrieval_solution_v2.1.csv are ignored by its challenge and left out"
    assert private.warnings == public.warnings == (said,)
    assert private.manifest_sha256 != public.manifest_sha256


def test_a_query_without_answers_is_kept_for_the_task_to_count(write, options):
    write(SOLUTION.replace("111111,abcdef 0a1b2c", "111111,None"))
    assert open_dataset("gldv2:gldv2", options).relevance.right(0).tolist() == []


def test_by_name_other_counts_are_told(write, options):
    write(SOLUTION)
    dataset = open_dataset("google-landmarks-v2", options)
    assert "gallery has 4 images, officially 761,757" in dataset.warnings


@pytest.mark.parametrize(
    ("solution", "message"),
    [
        ("id,images\n1,2\n", "has no column Usage"),
        (SOLUTION + "111111,abcdef,Private\n", "row 6: id '111111' is also in row 2"),
        (SOLUTION + ",abcdef,Private\n", "row 6: id is empty"),
        (SOLUTION.replace("Public", "public"), "row 3: Usage 'public'; choose from Public, Private, Ignored"),
        (SOLUTION.replace("Private", "Ignored"), "has no row whose Usage is Private"),
        (SOLUTION.replace("0a1b2c", "0000"), "query '111111' lists 1 images that are not in the gallery: 0000"),
        (SOLUTION.replace("0a1b2c", "abcdef"), "query '111111' lists abcdef twice"),
        (SOLUTION.replace("111111", "555555"), "1 of 1 queries are not below test/: 555555"),
    ],
)
def test_mistakes_name_the_row(solution, message, write, options):
    write(solution)
    with pytest.raises(ValueError, match=message):
        open_dataset("gldv2:gldv2", options)


def test_parts_and_files_that_are_not_there(write, options, tmp_path):
    write(SOLUTION)
    with pytest.raises(ValueError, match="did you mean 'public'"):
        open_dataset("gldv2:gldv2#publik", options)
    (tmp_path / "gldv2" / "retrieval_solution_v2.1.csv").unlink()
    with pytest.raises(ValueError, match=r"needs retrieval_solution_v2\.1\.csv beside test/ and index/"):
        open_dataset("gldv2:gldv2", options)
