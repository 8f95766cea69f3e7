"""What the hands of the ledger's race were told, against what the books say in the end: no answer was wrong, none was given twice.

A line of a diary is what a hand was told after a commit, and that only. So what it says must be in the books; the books may hold
more, of hands that were killed before they could write.
"""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import psycopg


@dataclass
class Diaries:
    """All diaries of a race, read together."""

    held: dict[str, set[int]] = field(default_factory=dict)
    charged: dict[str, set[int]] = field(default_factory=dict)
    #: How often something was said to be done now: a settlement by request, a grant and a clawback by source.
    done: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, folder: Path) -> "Diaries":
        """Read the diaries in a folder; the last line of a hand that was killed may be a part of one."""
        diaries = cls()
        for path in folder.glob("diary-*"):
            acts = [0, 0]
            for line in path.read_text().rpartition("\n")[0].splitlines():
                word, *values = line.split()
                if word == "acts":
                    acts = [int(value) for value in values]
                else:
                    diaries._read(word, *values)
            diaries.counts["acts"] += acts[0]
            diaries.counts["lost"] += acts[1]
        return diaries

    def _read(self, word: str, name: str, *values: str) -> None:
        self.counts[word] += 1
        if word == "admit":
            self.held.setdefault(name, set()).add(int(values[0]))
        elif word == "settle":
            self.charged.setdefault(name, set()).add(int(values[0]))
        if word in {"settle", "grant", "clawback"}:
            first = values[-1] == "1"
            self.done[f"{word} {name}"] += first
            self.counts[f"{word}_twice"] += not first

    def faults(self, connection: psycopg.Connection) -> list[str]:
        """Return what the books do not bear out."""
        holds = {
            str(id): (amount, actual or 0)
            for id, amount, actual in connection.execute("SELECT id, amount, actual FROM billing_hold").fetchall()
        }
        wrong = [f"{what} was done {times} times" for what, times in self.done.items() if times > 1]
        for id, said in self.held.items():
            if said != {holds[id][0] if id in holds else None}:
                wrong.append(f"request {id} was told of holds {said}; it has {holds.get(id)}")
        for id, charges in self.charged.items():
            if charges != {holds[id][1] if id in holds else None}:
                wrong.append(f"request {id} was told of charges {charges}; it has {holds.get(id)}")
        sources = {
            f"{kind} {ref}"
            for kind, ref in connection.execute("SELECT DISTINCT kind, ref FROM billing_ledgerentry").fetchall()
        }
        wrong += [
            f"{what} is not in the books" for what in self.done if not what.startswith("settle") and what not in sources
        ]
        return wrong
