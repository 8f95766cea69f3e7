"""Processor time by who used it, before, at the end of and after a load; and what is taken from lists of times."""

import os
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

import uvloop

from rig import accounting
from rig.accounting import MachineTime
from rig.clients import LoadError, Outcome
from rig.installation import Cores, Installation

#: Figures of one round by name.
type Figures = dict[str, float]


@dataclass(frozen=True, slots=True)
class Usage:
    """Processor seconds of one block of work with what it left to do, by who used them."""

    seconds: float
    gateway: float
    postgres: float
    valkey: float
    load: float
    mock: float
    #: Everybody else on the machine, and what its host took.
    strangers: float
    #: Of its core, while the load ran.
    gateway_share: float
    #: How full the other cores were while the load ran, whoever filled them.
    others_share: float


@dataclass(frozen=True, slots=True)
class Reading:
    """Processor seconds that everybody has used so far."""

    at: float
    gateway: float
    postgres: float
    valkey: float
    mock: float
    others_busy: float
    machine: MachineTime
    #: Ours, before this reading and after it: a look at all processes costs as much as many requests.
    load_before: float
    load_after: float


def own_time() -> float:
    """Return our own seconds, with those of children that we ran to their end for the measurement."""
    times = os.times()
    return time.process_time() + times.children_user + times.children_system


def read_clocks(parts: Installation, cores: Cores) -> Reading:
    """Read everybody's processor time now."""
    at, load_before = time.perf_counter(), own_time()
    return Reading(
        at=at,
        gateway=accounting.cpu_seconds(parts.gateway_pids),
        postgres=accounting.cpu_seconds([parts.postgres_pid]),
        valkey=accounting.cpu_seconds([parts.valkey_pid]),
        mock=accounting.cpu_seconds([parts.upstream.pid]),
        others_busy=accounting.busy_seconds(cores.others),
        machine=accounting.machine_time(),
        load_before=load_before,
        load_after=own_time(),
    )


def usage_between(before: Reading, at_end: Reading, after: Reading, *, cores: Cores) -> Usage:
    """Return who used what: sums from before the load until its work was done, shares for the time that it ran."""
    gateway, postgres = after.gateway - before.gateway, after.postgres - before.postgres
    valkey, mock = after.valkey - before.valkey, after.mock - before.mock
    ours = after.load_after - before.load_after
    busy, stolen = after.machine.busy - before.machine.busy, after.machine.stolen - before.machine.stolen
    ran = at_end.at - before.at  # what a reading takes is lost in the seconds of a load
    return Usage(
        seconds=after.at - before.at,
        gateway=gateway,
        postgres=postgres,
        valkey=valkey,
        load=at_end.load_before - before.load_after,
        mock=mock,
        strangers=max(0.0, busy - gateway - postgres - valkey - mock - ours) + stolen,
        gateway_share=min(1.0, (at_end.gateway - before.gateway) / ran),
        others_share=min(1.0, (at_end.others_busy - before.others_busy) / ran / len(cores.others)),
    )


def percentile(values: list[float], share: float) -> float:
    """Return the value below which ``share`` of the values lie. Raises LoadError when there are none."""
    if not values:
        raise LoadError("no request was answered")
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def run_load(load: Coroutine[Any, Any, Outcome]) -> Outcome:
    """Run a load to its end. Raises LoadError when an answer was wrong: a figure of wrong answers is worth nothing."""
    outcome: Outcome = uvloop.run(load)
    if outcome.failed:
        raise LoadError(
            f"{outcome.failed} of {outcome.failed + outcome.answered} answers were wrong; first: {outcome.first_failure}"
        )
    return outcome


def added(figures: Figures, name: str, *, shares: tuple[int, ...] = (50, 99)) -> Figures:
    """Return what the gateway adds to a direct answer, by percentile, from ``NAME.direct_p50_ms`` and ``NAME.gateway_p50_ms``."""
    return {
        f"{name}.added_p{share}_ms": figures[f"{name}.gateway_p{share}_ms"] - figures[f"{name}.direct_p{share}_ms"]
        for share in shares
    }
