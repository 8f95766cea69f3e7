"""What a proof found: figures, and what was wrong; one line at the end that a person and a script can read."""

import sys
import time
from dataclasses import dataclass, field


@dataclass(slots=True)
class Report:
    """The findings of one proof. ``wrong`` empty: proved."""

    name: str
    seed: int
    figures: dict[str, object] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    _began: float = field(default_factory=time.monotonic)

    def note(self, **figures: object) -> None:
        """Keep figures for the result line."""
        self.figures |= figures

    def require(self, holds: bool, otherwise: str) -> None:
        """Keep ``otherwise`` as a fault unless ``holds``."""
        if not holds:
            self.wrong.append(otherwise)

    def say(self, text: str) -> None:
        """Tell of progress, on standard error."""
        sys.stderr.write(f"[{time.monotonic() - self._began:7.1f} s] {self.name}: {text}\n")
        sys.stderr.flush()

    def line(self) -> str:
        """Return the result line: PROVED or BROKEN, the name, the seed, the figures, the seconds that it took."""
        figures = " ".join(f"{name}={value}" for name, value in self.figures.items())
        took = f"{time.monotonic() - self._began:.0f} s"
        if not self.wrong:
            return f"PROVED {self.name} seed={self.seed} {figures} ({took})"
        first = self.wrong[0].replace("\n", " ")
        return f"BROKEN {self.name} seed={self.seed} {figures} ({took}): {len(self.wrong)} faults, first: {first}"
