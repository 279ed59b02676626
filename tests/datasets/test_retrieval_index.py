import pytest

from tasks.catalogue import open_dataset

HEAD = "path,role,class,kind\n"


@pytest.fixture
def index(tmp_path, make_tree):
    make_tree(tmp_path / "set", ["a.png", "b.png", "q.png"])
    return lambda text: (tmp_path / "set" / "index.csv").write_text(text)


def test_roles_classes_and_another_column(index, options):
    index(HEAD + "q.png,query,10,x\nb.png,gallery,10,y\na.png,gallery,9,x\n")
    dataset = open_dataset("retrieval:set", options)
    assert dataset.classes == ("9", "10")
    assert list(dataset.splits["gallery"].labels) == [0, 1]
    assert list(dataset.splits["query"].labels) == [1]
    assert dataset.warnings[0].startswith("1 of 2 classes have no image in query")
    other = open_dataset("retrieval:set?class=kind", options)
    assert other.classes == ("x", "y")
    assert other.manifest_sha256 != dataset.manifest_sha256


def test_query_without_a_right_answer_is_kept_and_warned_about(index, options):
    index(HEAD + "q.png,query,7,x\na.png,gallery,9,x\n")
    dataset = open_dataset("retrieval:set", options)
    assert len(dataset.splits["query"]) == 1
    assert "1 queries have no right answer in the gallery: q.png" in dataset.warnings


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEAD + "q.png,query,1,x\na.png,galery,1,x\n", r"row 3: role 'galery'; choose from query, gallery"),
        (HEAD + "q.png,query,1,x\n../a.png,gallery,1,x\n", r"row 3: no file '../a.png'"),
        (HEAD + "q.png,query,,x\n", "row 2: class is empty"),
        (HEAD + "q.png,query,1,x\nq.png,gallery,1,x\n", r"row 3: 'q.png' is also in row 2"),
        (HEAD + "q.png,query,1,x\n", "no row with role gallery"),
        ("path,class\n", "no column role"),
        ("path,role\n", "no column class or class_id"),
    ],
)
def test_errors_name_the_row(text, message, index, options):
    index(text)
    with pytest.raises(ValueError, match=message):
        open_dataset("retrieval:set", options)
