"""Hundreds of random stories of payments over fourteen months, each brought into the books in four ways that must agree.

In order; shuffled, delayed and in up to three copies; with half of the events lost; and with none at all. Where events are lost the
comparison with Stripe makes up for them. The processes are in proofs.payment_hands.
"""

import json
import subprocess
import sys
from collections import Counter

from proofs.ledger_site import ledger_site
from proofs.report import Report
from rig.processes import ROOT

PROCESSES = 2
STORIES, SHORT_STORIES = 500, 4
#: Seconds, after which the processes are lost.
PATIENCE = 3600


def payments(report: Report, short: bool) -> None:
    """Run the proof on a server of its own."""
    stories = SHORT_STORIES if short else STORIES
    with ledger_site() as cluster:
        running = [
            subprocess.Popen(
                [
                    sys.executable, "-m", "proofs.payment_hands", "--seed", str(report.seed), "--first", str(first),
                    "--step", str(PROCESSES), "--stories", str(stories),
                ],
                cwd=ROOT, env=cluster.copy(f"stories{first}"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            )
            for first in range(PROCESSES)
        ]  # fmt: skip
        done: Counter[str] = Counter()
        for process in running:
            out, err = process.communicate(timeout=PATIENCE)
            report.require(process.returncode == 0, f"a process failed: {err[-800:]}")
            if process.returncode == 0:
                answer = json.loads(out.splitlines()[-1])
                done += Counter(answer["done"])
                report.wrong += answer["wrong"]
                for text in answer["wrong"]:
                    report.say(text)
    report.require(done["stories"] == stories, f"only {done['stories']} stories were played")
    report.note(**dict(sorted(done.items())))
