"""``manage.py demo``: fills a development database so that the first call answers. ``make run`` calls it at every start."""

import json
from dataclasses import asdict
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser

from dashboard.flows.demo import seed_demo


class Command(BaseCommand):
    """Seeds the demo and prints how to use it."""

    help = "Make the demo user, workspace, credit, API key and catalog, where they are missing. Development only."
    requires_system_checks: tuple[str, ...] = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare --json and --migrate."""
        parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
        parser.add_argument("--migrate", action="store_true", help="bring the database up to date first")

    def handle(self, *_args: object, **options: Any) -> None:
        """Seed, then print the sign-in and the key. Raises CommandError outside development."""
        if not settings.DEBUG:
            raise CommandError("The demo is for development: a known user with credit has no place elsewhere.")
        if options["migrate"]:
            call_command("migrate", interactive=False, verbosity=0)
        demo = seed_demo(folder=settings.LOCAL_DIR)
        if options["json"]:
            self.stdout.write(json.dumps(asdict(demo)))
        else:
            self.stdout.write(f"Sign in: {demo.email}, password {demo.password}\nAPI key: {demo.api_key}")
            for note in demo.notes:
                self.stdout.write(note)
