"""manage.py tasks: list the schedule's background tasks and run one of them here, in the foreground."""

from typing import Any

from celery import Celery
from celery.app.utils import find_app

from lumyx.lib import clock
from lumyx.lib.commands import JsonCommand, Subcommands

#: Found by name, as Celery's own commands do: no app imports the wiring.
APPLICATION = "lumyx.celery"


class Command(JsonCommand):
    """Every task may run twice, late, or beside itself: running one by hand does no harm."""

    help = "List the background tasks and run one by hand."

    def add_subcommands(self, subcommands: Subcommands) -> None:
        """Declare list and run."""
        subcommands.add("list", self.list, help="The tasks of the schedule, and how often they run.")
        run = subcommands.add("run", self.run, help="Run one here and now, without the worker; beside it is fine.")
        run.add_argument("name", metavar="NAME", help="as the list has it, for example gateway.tasks.aggregate_usage")

    def list(self) -> None:
        """Answer with every task of the schedule, the seconds between its runs, and what it does."""
        app = _application()
        rows = [
            {
                "name": name,
                "every_seconds": entry["schedule"],
                "does": (app.tasks[name].__doc__ or "").strip().partition("\n")[0],
            }
            for name, entry in app.conf.beat_schedule.items()
        ]
        lines = [f"{row['name']}  every {row['every_seconds']} s  {row['does']}" for row in rows]
        self.answer({"tasks": rows}, "\n".join(lines))

    def run(self, *, name: str) -> None:
        """Run a task to its end and answer with what it returned; whatever it raises ends the command with exit 1."""
        app = _application()
        if name not in app.conf.beat_schedule:
            self.fail(f"There is no task {name!r} in the schedule. There are: {', '.join(app.conf.beat_schedule)}.")
        began = clock.monotonic()
        result: Any = app.tasks[name]()
        seconds = round(clock.monotonic() - began, 3)
        self.answer({"task": name, "result": result, "seconds": seconds}, f"{name} ran for {seconds} s: {result}")


def _application() -> Celery:
    app: Celery = find_app(APPLICATION)
    app.loader.import_default_modules()
    return app
