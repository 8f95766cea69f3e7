"""``manage.py catalog apply FILE`` and ``catalog export``: what can be called, as data."""

import dataclasses
import sys
import tomllib
from pathlib import Path

from gateway.selectors.catalog_file import catalog_data, catalog_toml
from gateway.services.catalog import apply_catalog
from gateway.services.catalog_fields import CatalogError
from lumyx.lib.commands import JsonCommand, Subcommands


class Command(JsonCommand):
    """Applies and exports catalog files."""

    help = "Upstreams, models, routes and prices as a file."

    def add_subcommands(self, subcommands: Subcommands) -> None:
        """Declare apply and export."""
        apply = subcommands.add("apply", self.apply, help="Make the catalog say what a TOML file says.")
        apply.add_argument("file", metavar="FILE", help='the file, or "-" for standard input')
        apply.add_argument("--prune", action="store_true", help="also remove what the file does not name")
        subcommands.add("export", self.export, help="Print the catalog as a file; secrets are left out.")

    def apply(self, *, file: str, prune: bool) -> None:
        """Apply a file, all or nothing."""
        try:
            data = tomllib.loads(sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8"))
        except OSError as error:
            self.fail(f"{file} cannot be read: {error.strerror or error}.")
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            self.fail(f"{file} is not TOML: {error}.")
        except RecursionError:
            self.fail(f"{file} is nested too deeply.")
        try:
            diff = apply_catalog(data, prune=prune)
        except CatalogError as error:
            self.fail(f"{file}: {error}")
        names = ("created", "updated", "removed", "unchanged")
        lines = [f"{name:9} {line}" for name in names[:3] for line in getattr(diff, name)]
        lines.append(", ".join(f"{len(getattr(diff, name))} {name}" for name in names) + ".")
        self.answer(dataclasses.asdict(diff), "\n".join(lines))

    def export(self) -> None:
        """Print the whole catalog."""
        data = catalog_data()
        self.answer(data, catalog_toml(data).rstrip("\n"))
