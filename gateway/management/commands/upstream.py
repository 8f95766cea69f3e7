"""``manage.py upstream test NAME``: one tiny real request, to see whether an upstream answers."""

from gateway.models import Upstream
from gateway.services.upstream_check import check_upstream
from lumyx.lib.commands import JsonCommand, Subcommands


class Command(JsonCommand):
    """Tests upstreams."""

    help = "Test upstreams."

    def add_subcommands(self, subcommands: Subcommands) -> None:
        """Declare test."""
        test = subcommands.add("test", self.test, help="Send an upstream one tiny real request; exit 1 if it fails.")
        test.add_argument("name", metavar="NAME")

    def test(self, *, name: str) -> None:
        """Answer with what came of it: ok, the upstream's HTTP status (null: no answer) and the time it took."""
        try:
            probe = check_upstream(name)
        except Upstream.DoesNotExist:
            names = ", ".join(Upstream.objects.values_list("name", flat=True)) or "none yet"
            self.fail(f'There is no upstream "{name}" (there are: {names}).')
        payload = {"ok": probe.ok, "status": probe.status, "latency_ms": probe.latency_ms, "detail": probe.detail}
        self.answer(payload, f"{name}: {probe.detail} ({probe.latency_ms} ms)")
        if not probe.ok:
            self.fail(f"{name} does not answer as it should.")
