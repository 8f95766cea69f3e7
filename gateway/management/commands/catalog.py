"""``manage.py catalog apply FILE``, ``catalog export`` and ``catalog check``: what can be called, as data; and what it costs us."""

import dataclasses
import sys
import tomllib
from pathlib import Path

from gateway.selectors.below_cost import routes_without_cost, sold_below_cost
from gateway.selectors.catalog_file import catalog_data, catalog_toml
from gateway.services.catalog import apply_catalog
from gateway.services.catalog_fields import CatalogError
from lumyx.lib.commands import JsonCommand, Subcommands
from lumyx.lib.money import nano_to_usd


class Command(JsonCommand):
    """Applies and exports catalog files, and compares prices with costs."""

    help = "Upstreams, models, routes and prices as a file."

    def add_subcommands(self, subcommands: Subcommands) -> None:
        """Declare apply, export and check."""
        apply = subcommands.add("apply", self.apply, help="Make the catalog say what a TOML file says.")
        apply.add_argument("file", metavar="FILE", help='the file, or "-" for standard input')
        apply.add_argument("--prune", action="store_true", help="also remove what the file does not name")
        subcommands.add("export", self.export, help="Print the catalog as a file; secrets are left out.")
        subcommands.add(
            "check", self.check_costs, help="Compare prices with costs; exit 1 if a price is below its cost."
        )

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
        for gap in sold_below_cost():
            self.note(f"Warning: {gap}")

    def export(self) -> None:
        """Print the whole catalog."""
        data = catalog_data()
        self.answer(data, catalog_toml(data).rstrip("\n"))

    def check_costs(self) -> None:
        """Answer with the token classes that are sold below cost (USD per million tokens), and the routes without a cost."""
        gaps, unknown = sold_below_cost(), routes_without_cost()
        payload = {
            "below_cost": [
                {**dataclasses.asdict(gap), "price": nano_to_usd(gap.price), "cost": nano_to_usd(gap.cost)}
                for gap in gaps
            ],
            "without_cost": [
                {"model": row.model.public_id, "upstream": row.upstream.name, "upstream_model": row.upstream_model}
                for row in unknown
            ],
        }
        lines = [str(gap) for gap in gaps]
        lines += [
            f"{row.model}: what {row.upstream} charges for {row.upstream_model} is not known. Enter it: [models.routes.cost]."
            for row in unknown
        ]
        self.answer(payload, "\n".join(lines) or "Every price is at or above its cost.")
        if gaps:
            self.fail(f"{len(gaps)} prices are below their cost.")
