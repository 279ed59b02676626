"""A child hears what we hear, once, and never outlives us."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from slurm.child import TAIL_BYTES, TAIL_LINES, Child, Ended, run

LISTENER = """
import os, signal, sys, time
def hear(number, frame):
    print("heard", signal.Signals(number).name, flush=True)
for each in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
    signal.signal(each, hear)
print("ready", os.getpid(), os.getppid(), flush=True)
deadline = time.monotonic() + 20
while time.monotonic() < deadline and not os.path.exists(sys.argv[1]):
    time.sleep(0.01)
"""


def python(code: str, *arguments: object) -> list[str]:
    return [sys.executable, "-S", "-c", code, *map(str, arguments)]


def until(condition: Callable[[], object], seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def alive(pid: int) -> bool:
    """Neither gone nor a zombie that nobody collected."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_exit_code_and_output(tmp_path: Path) -> None:
    pids: list[int] = []
    code = "import os, sys; print(os.getpid(), os.environ['WORD']); print('wrong', file=sys.stderr); sys.exit(7)"
    ended = run(python(code), tmp_path / "logs" / "a.log", {"WORD": "mine"}, pids.append)
    assert (ended.exit_code, ended.signal, ended.heard) == (7, None, ())
    assert set(ended.tail.splitlines()) == {f"{pids[0]} mine", "wrong"}
    assert 0 < ended.seconds < 20


def test_tail_is_what_this_child_wrote(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("an earlier attempt\n")
    assert run(python("pass"), log, {}).tail == ""
    assert run(["sh", "-c", "echo mine; printf '\\377'"], log, {}).tail == "mine\n\N{REPLACEMENT CHARACTER}"
    assert log.read_bytes() == b"an earlier attempt\nmine\n\xff"
    many = run(python("for i in range(100000): print(i)"), log, {}).tail
    assert many.splitlines() == [str(i) for i in range(100000 - TAIL_LINES, 100000)]
    assert run(python("print('x' * 100000, end='')"), log, {}).tail == "x" * TAIL_BYTES


def test_the_signal_that_killed_it(tmp_path: Path) -> None:
    ended = run(["sh", "-c", "kill -9 $$"], tmp_path / "log", {})
    assert (ended.exit_code, ended.signal) == (None, "SIGKILL")


def test_what_cannot_start(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no-such-command"):
        run(["no-such-command"], tmp_path / "log", {})
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        run(["true"], tmp_path / "file" / "log", {})
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    with pytest.raises(ValueError, match="on_start"):
        run(["sleep", "60"], tmp_path / "log", {}, lambda pid: (_ for _ in ()).throw(ValueError("on_start")))


def listen(tmp_path: Path, numbers: list[signal.Signals]) -> tuple[Ended, list[str]]:
    """A child that writes what it hears, while each of these signals reaches us once the one before was heard."""
    log, stop = tmp_path / "log", tmp_path / "stop"
    log.unlink(missing_ok=True)
    stop.unlink(missing_ok=True)

    def send() -> None:
        until(lambda: log.exists() and "ready" in log.read_text())
        for count, number in enumerate(numbers, 1):
            os.kill(os.getpid(), number)
            deadline = time.monotonic() + 1.0
            while log.read_text().count("heard") < count and time.monotonic() < deadline:
                time.sleep(0.01)
        stop.touch()

    sender = threading.Thread(target=send)
    sender.start()
    ended = run(python(LISTENER, stop), log, {})
    sender.join()
    return ended, [line.split()[1] for line in log.read_text().splitlines() if line.startswith("heard")]


def test_signals_are_passed_on_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_STEP_ID", raising=False)
    before = signal.getsignal(signal.SIGINT)
    numbers = [signal.SIGTERM, signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2]
    ended, heard = listen(tmp_path, numbers)
    assert heard == ["SIGTERM", "SIGTERM", "SIGINT", "SIGUSR1", "SIGUSR1"]
    assert ended.heard == tuple(number.name for number in numbers)
    assert ended.exit_code == 0
    assert signal.getsignal(signal.SIGINT) == before
    assert signal.getsignal(signal.SIGUSR2) == signal.SIG_DFL


def test_in_a_step_of_slurm_only_what_slurm_cannot_say_is_passed_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_STEP_ID", "0")
    ended, heard = listen(tmp_path, [signal.SIGTERM, signal.SIGUSR2])
    assert heard == ["SIGUSR1"]
    assert ended.heard == ("SIGTERM", "SIGUSR2")


def test_a_signal_meant_for_submitit_is_ignored_by_the_child(tmp_path: Path) -> None:
    log, stop = tmp_path / "log", tmp_path / "stop"
    child = Child(python(LISTENER, stop), log, {})
    pid = child.start()
    os.kill(pid, signal.SIGUSR2)
    until(lambda: "ready" in log.read_text())
    os.kill(pid, signal.SIGUSR2)
    stop.touch()
    assert child.wait().exit_code == 0
    assert child.wait() == child.stop()


def test_a_handler_stops_it_while_we_wait(tmp_path: Path) -> None:
    """As submitit's hook does: it is called in the main thread, which waits."""
    log = tmp_path / "log"
    child = Child(["sh", "-c", "trap 'echo kept; exit 75' TERM; echo ready; while true; do sleep 0.02; done"], log, {})
    stopped: list[Ended | None] = []
    before = signal.signal(signal.SIGUSR2, lambda number, frame: stopped.append(child.stop(10.0)))
    try:
        child.start()
        until(lambda: "ready" in log.read_text())
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGUSR2)).start()
        ended = child.wait()
        assert signal.getsignal(signal.SIGUSR2) != signal.SIG_DFL
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert stopped == [ended]
    assert (ended.exit_code, ended.tail) == (75, "ready\nkept")


def test_one_that_will_not_stop_is_killed(tmp_path: Path) -> None:
    child = Child(["sh", "-c", "trap '' TERM; echo ready; while true; do sleep 0.02; done"], tmp_path / "log", {})
    assert child.stop() is None
    child.start()
    until(lambda: "ready" in (tmp_path / "log").read_text())
    start = time.monotonic()
    ended = child.stop(0.3)
    assert ended is not None
    assert ended.signal == "SIGKILL"
    assert 0.3 <= time.monotonic() - start < 5


def test_what_it_started_ends_with_it(tmp_path: Path) -> None:
    """A process that it leaves behind would keep memory, or a GPU, from the next."""
    ended = run(["sh", "-c", "sleep 60 & echo $!; kill -9 $$"], tmp_path / "log", {})
    until(lambda: not alive(int(ended.tail)), 5.0)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux kills a child with its parent")
@pytest.mark.parametrize("step", [None, "0"])
def test_it_dies_with_a_parent_that_is_killed(tmp_path: Path, step: str | None) -> None:
    code = f"""
import sys
from pathlib import Path
from slurm.child import run
run([sys.executable, "-S", "-c", {LISTENER!r}, {str(tmp_path / "stop")!r}], Path({str(tmp_path / "log")!r}), {{}})
"""
    environment = {name: value for name, value in os.environ.items() if name != "SLURM_STEP_ID"}
    if step is not None:
        environment["SLURM_STEP_ID"] = step
    log = tmp_path / "log"
    with subprocess.Popen([sys.executable, "-c", code], env=environment) as parent:
        until(lambda: log.exists() and "ready" in log.read_text())
        pid, its_parent = map(int, log.read_text().split()[1:3])
        assert its_parent == parent.pid
        assert alive(pid)
        parent.kill()
    until(lambda: not alive(pid), 5.0)
