"""The installation that all proofs share in shape: two web processes, an HTTP upstream, PostgreSQL and Valkey of its own."""

import contextlib
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from proofs.report import Report
from rig.catalog import model_entry, upstream_entry
from rig.installation import Installation, Plan, installed
from rig.processes import ROOT

WORKERS = 2
#: At once, after 100 ms, after 2 s; streams of 20 chunks at 20 a second, of 100 at 10 a second, of 50 at once.
WHOLE, QUICK, SLOW = "mock-json", "mock-json-100", "mock-json-2000"
STREAM, LONG_STREAM, BURST = "mock-stream-20-20", "mock-stream-100-10", "mock-stream-50-0"
#: At once, and a stream of 0.1 s; at no price: counted against the daily quota.
FREE, FREE_STREAM = "mock-json-1", "mock-stream-5-50"

#: Like STREAM, from an upstream that stops billing when a call is dropped (``offer_stopped``); the others bill to the end.
STOPPED = "stops/stream"
#: Seconds within which an operator's change acts in every process, and some more.
_ACTS_WITHIN = 1.5


@contextlib.contextmanager
def site(*, settings: Mapping[str, str] | None = None, workers: int = WORKERS) -> Iterator[Installation]:
    """Run an installation for the time of the block."""
    local = ROOT / ".local"
    local.mkdir(exist_ok=True)
    models = [WHOLE, QUICK, SLOW, STREAM, LONG_STREAM, BURST]
    with tempfile.TemporaryDirectory(prefix="proof-", dir=local) as folder:
        plan = Plan(models, free_models=[FREE, FREE_STREAM], workers=workers, settings=settings)
        with installed(Path(folder), plan) as installation:
            yield installation


def offer(installation: Installation, name: str, entries: Iterable[str]) -> None:
    """Apply more of a catalog (entries of rig.catalog), and return when every process knows it."""
    path = installation.folder / f"{name}.toml"
    path.write_text("".join(entries))
    installation.manage("catalog", "apply", str(path))
    time.sleep(_ACTS_WITHIN)


def offer_stopped(installation: Installation) -> None:
    """Offer the model STOPPED."""
    stops = upstream_entry(port=installation.upstream_port, name="stops", provider="vllm")
    offer(installation, "stops", [stops, model_entry(STOPPED, upstream="stops", answers_as=STREAM)])


def check_books(installation: Installation, report: Report) -> None:
    """Read the ledger's and the usage's audits, and report what is broken."""
    for command in ("ledger", "usage"):
        broken = installation.audit(command)
        report.require(not broken, f"{command} audit: {broken[:3]}")
