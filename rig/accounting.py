"""Who used how much processor time, from the kernel's own accounting, and what else the machine was doing."""

import contextlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
#: The state of a connection in /proc/net/tcp.
_ESTABLISHED = "01"


def _stat_fields(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat after the command's name; empty when the process has gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return []
    return text[text.rindex(")") + 2 :].split()


def parent_of(pid: int) -> int:
    """Return the parent's pid; 0 when the process has gone."""
    fields = _stat_fields(pid)
    return int(fields[1]) if fields else 0


def tree_of(roots: Iterable[int]) -> set[int]:
    """Return the pids of processes and all their descendants, as of now."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            pid = int(entry.name)
            children.setdefault(parent_of(pid), []).append(pid)
    found: set[int] = set()
    waiting = list(roots)
    while waiting:
        pid = waiting.pop()
        if pid not in found:
            found.add(pid)
            waiting += children.get(pid, [])
    return found


def cpu_seconds(roots: Iterable[int]) -> float:
    """Return the seconds of user and system time that process trees have used, with those of children that ended."""
    return own_cpu_seconds(tree_of(roots))


def own_cpu_seconds(pids: Iterable[int]) -> float:
    """Likewise for these processes alone: a look that costs microseconds, for the middle of a measurement."""
    ticks = 0
    for pid in pids:
        fields = _stat_fields(pid)
        if fields:
            ticks += sum(int(value) for value in fields[11:15])
    return ticks / _TICK


def resident_megabytes(roots: Iterable[int]) -> float:
    """Return the resident memory of process trees in MB (pages that they share count in each)."""
    return own_resident_megabytes(tree_of(roots))


def own_resident_megabytes(pids: Iterable[int]) -> float:
    """Likewise for these processes alone."""
    pages = 0
    for pid in pids:
        fields = _stat_fields(pid)
        pages += int(fields[21]) if fields else 0
    return pages * _PAGE / 1e6


def forget_peak(pid: int) -> None:
    """Let a process's peak of resident memory count from now."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def peak_megabytes(pid: int) -> float:
    """Return a process's peak of resident memory in MB."""
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(fields["VmHWM"].split()[0]) * 1024 / 1e6


def pin(roots: Iterable[int], cores: set[int]) -> None:
    """Bind every thread of process trees to ``cores``; what they start later inherits it."""
    for pid in tree_of(roots):
        for thread in Path(f"/proc/{pid}/task").glob("*"):
            os.sched_setaffinity(int(thread.name), cores)


def busy_seconds(cores: Iterable[int]) -> float:
    """Return how long these cores were busy, summed, since the start of the machine; what its host took counts too."""
    wanted, ticks = {f"cpu{core}" for core in cores}, 0
    for line in Path("/proc/stat").read_text().splitlines():
        name, *values = line.split()
        if name in wanted:
            user, nice, system, _idle, _iowait, irq, softirq, steal = (int(value) for value in values[:8])
            ticks += user + nice + system + irq + softirq + steal
    return ticks / _TICK


@dataclass(frozen=True, slots=True)
class MachineTime:
    """Seconds since the start of the machine, summed over its cores."""

    busy: float
    stolen: float


def machine_time() -> MachineTime:
    """Read how long all cores were busy, and how long the host kept them from running."""
    fields = [int(value) for value in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    user, nice, system, _idle, _iowait, irq, softirq, steal = fields
    return MachineTime(busy=(user + nice + system + irq + softirq) / _TICK, stolen=steal / _TICK)


def descriptors(pid: int) -> list[str]:
    """Return what each open file descriptor of a process is ("socket:[123]", a path, …)."""
    found = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):  # closed in the meantime
            found.append(str(entry.readlink()))
    return found


def count_connections(pid: int, *, here: int | None = None, there: int | None = None) -> int:
    """Return how many established TCP connections of a process have the port ``here`` on its side, or ``there`` on the other."""
    own = set(descriptors(pid))
    count = 0
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        local, remote = (int(address.rpartition(":")[2], 16) for address in fields[1:3])
        if fields[3] == _ESTABLISHED and f"socket:[{fields[9]}]" in own:
            count += here in {None, local} and there in {None, remote}
    return count
