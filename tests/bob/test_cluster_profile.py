"""A profile as people get it wrong: at every level, each mistake a line, all at once."""

from pathlib import Path

import pytest

from bob.cluster_profile import read_profile
from bob.plan import PlanError

TASKS = ("classification.knn", "classification.finetune", "detection", "detection.shift")


def lines(folder: Path, text: str) -> list[str]:
    """What is wrong with a profile, without the file's name."""
    path = folder / "cluster.yaml"
    path.write_text(text)
    with pytest.raises(PlanError) as caught:
        read_profile(path, TASKS)
    assert all(line.startswith(str(path)) for line in caught.value.lines)
    return [line.removeprefix(f"{path}: ") for line in caught.value.lines]


def test_a_sound_one(tmp_path: Path) -> None:
    path = tmp_path / "cluster.yaml"
    path.write_text(
        "defaults: {partition: gpu, time_min: 60, mem_gb: 8}\n"
        "tasks:\n"
        "  classification: {mem_gb: 4}\n"
        "  classification.finetune: {gpus_per_node: 2, nodes: 2}\n"
        "  detection: {time_min: 600}\n"
        "setup: [module load cuda]\n"
        "parallel: 7\n"
    )
    profile = read_profile(path, TASKS)
    assert (profile.parallel, profile.setup) == (7, ["module load cuda"])
    tuned, shifted = profile.resources("classification.finetune"), profile.resources("detection.shift")
    assert (tuned.mem_gb, tuned.processes, tuned.time_min, tuned.partition) == (4, 4, 60, "gpu")
    assert (shifted.mem_gb, shifted.time_min) == (8, 600)
    path.write_text("{}")
    assert read_profile(path, TASKS).resources("detection").time_min == 60


def test_unknown_keys_at_every_level_all_at_once(tmp_path: Path) -> None:
    found = lines(
        tmp_path,
        "paralel: 3\ndefaults: {partitoin: gpu}\n"
        "tasks:\n  detection: {time: 60}\n  classification.kn: {}\n  segment: {nodes: 0}\n",
    )
    assert found == [
        "unknown key 'paralel'; did you mean 'parallel'?",
        "defaults: unknown key 'partitoin'; did you mean 'partition'?",
        "tasks: detection: unknown key 'time'; did you mean 'time_min'?",
        "tasks: unknown task or beginning of one 'classification.kn'; did you mean 'classification.knn' or "
        "'classification' or 'classification.finetune'?",
        "tasks: unknown task or beginning of one 'segment'; there are: classification, classification.finetune, "
        "classification.knn, detection, detection.shift",
        "tasks: segment: nodes: Input should be greater than or equal to 1 (it is 0)",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("defaults: {time_min: 1}", "defaults: time_min: Input should be greater than or equal to 2 (it is 1)"),
        ("defaults: {time_min: '2:00:00'}", "defaults: time_min: Input should be a valid integer (it is '2:00:00')"),
        ("defaults: {gpus_per_node: true}", "defaults: gpus_per_node: Input should be a valid integer (it is True)"),
        ("defaults: {mem_gb: 8GB}", "defaults: mem_gb: Input should be a valid number (it is '8GB')"),
        ("defaults: {mem_gb: -1}", "defaults: mem_gb: Input should be greater than 0 (it is -1)"),
        ("defaults: {partition: 5}", "defaults: partition: Input should be a valid string (it is 5)"),
        ("defaults: {5: 5}", "defaults: 5: Keys should be strings (it is 5)"),
        ("defaults:", "defaults: is a mapping like {partition: NAME, time_min: 60}, not None"),
        ("tasks: [detection]", "tasks: is a mapping from a task's name to what its jobs ask for, not ['detection']"),
        ("tasks: {detection: 60}", "tasks: detection: is a mapping like {partition: NAME, time_min: 60}, not 60"),
        ("setup: module load cuda", "setup: Input should be a valid list (it is 'module load cuda')"),
        ("parallel: 0", "parallel: Input should be greater than or equal to 1 (it is 0)"),
        ("[a, b]", "a profile is a mapping with any of defaults, tasks, setup, python, parallel, job_min, signal_s, "
         "not ['a', 'b']"),
        ("", "a profile is a mapping with any of defaults, tasks, setup, python, parallel, job_min, signal_s, "
         "not None"),
    ],
)  # fmt: skip
def test_what_is_no_profile(tmp_path: Path, text: str, said: str) -> None:
    assert lines(tmp_path, text) == [said]


def test_what_is_no_file(tmp_path: Path) -> None:
    assert "key 'parallel' is given twice" in lines(tmp_path, "parallel: 1\nparallel: 2\n")[0]
    with pytest.raises(PlanError, match=r"no profile '.*nothing.yaml' in "):
        read_profile(tmp_path / "nothing.yaml", TASKS)
    with pytest.raises(PlanError, match="directory"):
        read_profile(tmp_path, TASKS)
