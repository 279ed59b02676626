"""The journal cut at every byte: what was whole before is kept, and what is written after is read."""

from pathlib import Path

import pytest

from slurm.journal import Journal, Submission


def test_what_was_written_is_read_by_others_and_once_more(tmp_path: Path) -> None:
    mine, theirs = Journal(tmp_path / "deep" / "journal.jsonl"), Journal(tmp_path / "deep" / "journal.jsonl")
    assert theirs.submissions() == {}
    mine.intend("one", [["a", "b"], ["c"]])
    assert theirs.submissions() == {"one": Submission("one", (("a", "b"), ("c",)))}
    mine.accept("one", "123")
    theirs.intend("two", [["d"]])
    theirs.refuse("two", "no")
    for journal in (mine, theirs, Journal(mine.path)):
        assert journal.submissions() == {"one": Submission("one", (("a", "b"), ("c",)), "123")}


def test_torn_at_every_byte(tmp_path: Path) -> None:
    whole = Journal(tmp_path / "whole.jsonl")
    whole.intend("one", [["a"]])
    first = whole.path.stat().st_size
    whole.accept("one", "7")
    data = whole.path.read_bytes()
    for length in range(len(data) + 1):
        torn = Journal(tmp_path / "torn.jsonl")
        torn.path.write_bytes(data[:length])
        before = torn.submissions()
        assert set(before) == ({"one"} if length >= first else set())
        torn.intend("two", [["b"]])
        for journal in (torn, Journal(torn.path)):
            read = journal.submissions()
            assert read["two"].units == (("b",),)
            assert ("one" in read) == (length >= first - 1)  # without its line's end it is whole all the same
            if length >= first:
                assert read["one"].job == ("7" if length >= len(data) - 1 else "")


def test_a_full_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(Path("/dev/full"))
    with pytest.raises(OSError, match="No space left"):
        journal.intend("one", [["a"]])
