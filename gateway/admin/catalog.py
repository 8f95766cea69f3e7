"""Upstreams with their test, models with their prices and routes: enough to open a way from nothing to an answer."""

from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from gateway.admin.forms import CatalogModelForm, UpstreamForm
from gateway.admin.model_import import ModelImportPage
from gateway.admin.prices import PricePage, price_in_words
from gateway.admin.routes import cost_in_words, warn_below_cost
from gateway.admin.versions import VersionsInline
from gateway.models import CatalogModel, Price, Route, Upstream
from gateway.selectors.upstream_state import state_of, with_use
from gateway.services.catalog_spec import TIMEOUTS
from gateway.services.credentials import set_credential
from gateway.services.prices import set_price
from gateway.services.upstream_check import check_upstream

if TYPE_CHECKING:  # Django's classes take their parameters in the eyes of the type checker only
    RouteTabularInline = admin.TabularInline[Route, CatalogModel]
    PriceTabularInline = admin.TabularInline[Price, CatalogModel]
else:
    RouteTabularInline = PriceTabularInline = admin.TabularInline

TEST = "_test"


def tell_test(request: HttpRequest, name: str) -> None:
    """Test an upstream and say what came of it."""
    probe = check_upstream(name)
    status = f"HTTP {probe.status}, " if probe.status else ""
    level = messages.SUCCESS if probe.ok else messages.ERROR
    said = "The test of {} {}: {} ({}{} ms)".format(
        name, "succeeded" if probe.ok else "failed", probe.detail, status, probe.latency_ms
    )
    messages.add_message(request, level, said)


@admin.register(Upstream)
class UpstreamAdmin(ModelImportPage):
    """Upstreams. The credential is write-only; "Save and test" sends one tiny real request; their lists of models are imported."""

    form = UpstreamForm
    list_display = ("name", "provider", "protocol", "base_url", "state", "has_credential")
    list_filter = ("is_enabled", "protocol")
    search_fields = ("name", "provider", "base_url")
    actions = ("test_selected",)

    @admin.display(description="state (today and yesterday)")
    def state(self, row: Upstream) -> str:
        """Return whether it is paused, failing, in use or idle, with the figures behind it."""
        requests, errors = row.recent_requests, row.recent_errors  # type: ignore[attr-defined]  # of the query below
        word = state_of(row.is_enabled, requests=requests, errors=errors)
        return f"{word}: {errors} of {requests} requests failed" if requests else word

    def get_queryset(self, request: HttpRequest) -> QuerySet[Upstream]:
        """Read along how each stands."""
        return with_use(super().get_queryset(request))

    @admin.display(boolean=True, description="credential")
    def has_credential(self, row: Upstream) -> bool:
        """Whether one is stored; that is all there is to see of it."""
        return bool(row.credential)

    def get_readonly_fields(self, request: HttpRequest, obj: Upstream | None = None) -> tuple[str, ...]:
        """Keep the name of a stored upstream: its credential is bound to it."""
        return ("name", "state") if obj else ()

    def get_fieldsets(self, request: HttpRequest, obj: Upstream | None = None) -> Any:
        """Group the fields; only a stored credential can be removed."""
        secret = ("credential", "remove_credential") if obj and obj.credential else ("credential",)
        state = ("state",) if obj else ()
        return (
            (None, {"fields": (*state, "name", "provider", "protocol", "base_url", *secret)}),
            ("Reach", {"fields": ("is_enabled", "allow_private_network", *TIMEOUTS)}),
        )

    def get_form(
        self, request: HttpRequest, obj: Upstream | None = None, change: bool = False, **kwargs: Any
    ) -> "type[ModelForm[Upstream]]":
        """Leave the form its own fields: the credential's are no columns."""
        return super().get_form(request, obj, change=change, **{**kwargs, "fields": UpstreamForm.Meta.fields})

    def save_model(self, request: HttpRequest, obj: Upstream, form: Any, change: bool) -> None:
        """Save the row, and the credential if one was given."""
        if form.cleaned_data.get("credential"):
            set_credential(obj, form.cleaned_data["credential"])
        elif form.cleaned_data.get("remove_credential"):
            obj.credential = b""
        super().save_model(request, obj, form, change)
        if TEST in request.POST:
            request.upstream_to_test = obj.name  # type: ignore[attr-defined]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the way to the import to whom it is open."""
        more = {"may_import": self.may_import(request), **(extra_context or {})}
        return super().change_view(request, object_id, form_url, more)

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Test after the save's transaction: it must not stay open while we wait for somebody else's server."""
        response = super().changeform_view(request, *args, **kwargs)
        if name := getattr(request, "upstream_to_test", ""):
            tell_test(request, name)
        return response

    def response_add(self, request: HttpRequest, obj: Upstream, post_url_continue: str | None = None) -> HttpResponse:
        """Come back to the page after a test."""
        return self._back(request, obj) or super().response_add(request, obj, post_url_continue)

    def response_change(self, request: HttpRequest, obj: Upstream) -> HttpResponse:
        """Come back to the page after a test."""
        return self._back(request, obj) or super().response_change(request, obj)

    def _back(self, request: HttpRequest, obj: Upstream) -> HttpResponse | None:
        if TEST not in request.POST:
            return None
        self.message_user(request, f"{obj} was saved.", messages.SUCCESS)
        return HttpResponseRedirect(reverse("admin:gateway_upstream_change", args=[obj.pk]))

    @admin.action(description="Test the selected upstreams", permissions=["change"])
    def test_selected(self, request: HttpRequest, rows: QuerySet[Upstream]) -> None:
        """Test some upstreams, one after the other."""
        for row in rows:
            tell_test(request, row.name)


class RouteInline(RouteTabularInline):
    """A model's routes, each with what it costs; the cost is entered on the route's own page."""

    model = Route
    extra = 1
    show_change_link = True
    fields = ("upstream", "upstream_model", "priority", "weight", "cost_now", "is_enabled")
    readonly_fields = ("cost_now",)

    @admin.display(description="cost (USD per million)")
    def cost_now(self, row: Route) -> str:
        """Return what it costs now."""
        return cost_in_words(row) if row.pk else "enter it on its own page, once saved"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Route]:
        """Read the costs along with the routes."""
        return super().get_queryset(request).prefetch_related("costs")


class PriceInline(VersionsInline, PriceTabularInline):
    """A model's prices so far, newest first."""

    model = Price
    verbose_name_plural = "price versions (US dollars per million tokens)"
    fields = readonly_fields = ("version", "input_usd", "output_usd", "cache_read_usd", "cache_write_usd", "created_at")
    ordering = ("-version",)


@admin.register(CatalogModel)
class CatalogModelAdmin(PricePage):
    """Models, each with its routes and the versions of its price; a new one with its price on the same page."""

    form = CatalogModelForm
    inlines = (RouteInline, PriceInline)
    list_display = ("public_id", "display_name", "kind", "is_free", "is_enabled")
    list_filter = ("is_enabled", "is_free", "kind")
    search_fields = ("public_id", "display_name")
    fieldsets = (
        (None, {"fields": ("public_id", "display_name", "description", "kind", "tags")}),
        ("Limits", {"fields": ("context_window", "max_output_tokens", "supports_streaming", "is_enabled")}),
        (
            "Price",
            {
                "fields": ("is_free", "price_input", "price_output", "price_cache_read", "price_cache_write"),
            },
        ),
    )

    @admin.display(description="price now (USD per million)")
    def price_now(self, row: CatalogModel) -> str:
        """Return what it costs now."""
        return price_in_words(row)

    def get_fieldsets(self, request: HttpRequest, obj: CatalogModel | None = None) -> Any:
        """Show a new model the fields of its price, and any other the price as it is: it has a page of its own."""
        *others, (heading, _) = self.fieldsets
        return self.fieldsets if obj is None else (*others, (heading, {"fields": ("is_free", "price_now")}))

    def get_readonly_fields(self, request: HttpRequest, obj: CatalogModel | None = None) -> tuple[str, ...]:
        """Fix the price of a model that is there."""
        return ("is_free", "price_now") if obj else ()

    def get_form(
        self, request: HttpRequest, obj: CatalogModel | None = None, change: bool = False, **kwargs: Any
    ) -> "type[ModelForm[CatalogModel]]":
        """Leave the form its own fields: the price's are no columns."""
        return super().get_form(request, obj, change=change, **{**kwargs, "fields": CatalogModelForm.Meta.fields})

    def save_model(self, request: HttpRequest, obj: CatalogModel, form: Any, change: bool) -> None:
        """Save the row, and a new model's price."""
        super().save_model(request, obj, form, change)
        if change:
            return
        if form.rates is None:
            self.message_user(
                request, f"{obj} has no price yet: until it has one, it cannot be called.", messages.WARNING
            )
            return
        price, is_new = set_price(obj, rates=form.rates)
        if is_new and not obj.is_free:
            self.message_user(request, f"The price of {obj} is now version {price.version}.", messages.SUCCESS)
            warn_below_cost(request, obj.public_id)
