"""How often the system killed a process of ours for memory."""

from pathlib import Path

_GROUPS = Path("/sys/fs/cgroup")


def kills_for_memory(groups: Path = _GROUPS, membership: Path = Path("/proc/self/cgroup")) -> int:
    """Kills counted by this process's control group (version 2) and those it is in; 0 where nobody counts.

    A limit may be set on any of them: a scheduler's job, a container.
    """
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return 0
    place = next((line.partition("::")[2] for line in lines if line.startswith("0::")), "/")
    inner = groups / place.lstrip("/")
    return max((_kills(each) for each in (inner, *inner.parents) if each.is_relative_to(groups)), default=0)


def _kills(group: Path) -> int:
    try:
        counts = dict(line.split() for line in (group / "memory.events").read_text().splitlines())
        return int(counts.get("oom_kill", 0))
    except (OSError, ValueError):
        return 0
