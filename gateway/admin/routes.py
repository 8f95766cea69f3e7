"""Routes in the admin: what goes where, in which order, and what the upstream charges us for it."""

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest

from billing.rating import Rates
from gateway.admin.versions import CLASSES, RateField, VersionsInline, read_rates, shown_rates, too_high, usd
from gateway.models import Route, RouteCost
from gateway.models.catalog import ModelKind
from gateway.selectors.below_cost import sold_below_cost
from gateway.selectors.catalog import rates_of
from gateway.services.prices import set_route_cost

if TYPE_CHECKING:  # Django's classes take their parameters in the eyes of the type checker only
    RouteModelAdmin = admin.ModelAdmin[Route]
    RouteModelForm = forms.ModelForm[Route]
    CostTabularInline = admin.TabularInline[RouteCost, Route]
else:
    RouteModelAdmin, RouteModelForm = admin.ModelAdmin, forms.ModelForm
    CostTabularInline = admin.TabularInline

_LIKE_INPUT = "US dollars per million tokens; empty: as input."


def newest_cost(route: Route) -> RouteCost | None:
    """Return the cost of a route now, from costs that were read along with it."""
    return max(route.costs.all(), key=lambda cost: cost.version, default=None) if route.pk else None


def cost_in_words(route: Route) -> str:
    """Return it in US dollars per million tokens of input and output."""
    cost = newest_cost(route)
    return "not known" if cost is None else f"{usd(cost.input)} in, {usd(cost.output)} out"


def warn_below_cost(request: HttpRequest, model: str) -> None:
    """Say what of a model is sold below its cost now."""
    for gap in sold_below_cost():
        if gap.model == model:
            messages.warning(request, str(gap))


class RouteForm(RouteModelForm):
    """A route with its current cost; another cost becomes a new version."""

    cost_input = RateField(
        "Input", "US dollars per million tokens. Empty: the cost is not known, and neither is the margin."
    )
    cost_output = RateField("Output", "US dollars per million tokens.")
    cost_cache_read = RateField("Cache read", _LIKE_INPUT)
    cost_cache_write = RateField("Cache write", _LIKE_INPUT)

    class Meta:
        model = Route
        fields = ("model", "upstream", "upstream_model", "priority", "weight", "is_enabled")

    #: nano-USD per million tokens, once the form is valid; None: it is not known yet.
    rates: Rates | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        cost = newest_cost(self.instance)
        self._had_cost = cost is not None
        if cost is not None:
            for name, shown in shown_rates(rates_of(cost)).items():
                self.fields[f"cost_{name}"].initial = shown

    def clean(self) -> dict[str, Any]:
        """Read the cost."""
        values = super().clean() or self.cleaned_data
        if not any(f"cost_{name}" in self.errors for name in CLASSES):
            costs = {name: values.get(f"cost_{name}") for name in CLASSES}
            self._clean_cost(values, {name: cost for name, cost in costs.items() if cost is not None})
        return values

    def _clean_cost(self, values: dict[str, Any], given: dict[str, Decimal]) -> None:
        for name in too_high(given):
            self.add_error(f"cost_{name}", "This is more than can be stored.")
        if "input" not in given:
            if given or self._had_cost:
                self.add_error("cost_input", "Say what it costs; 0 is a cost.")
            return
        model = values.get("model")
        if "output" not in given and model is not None and model.kind == ModelKind.CHAT:
            self.add_error("cost_output", "Say what it costs; 0 is a cost.")
        if not too_high(given):
            self.rates = read_rates(given)


class RouteCostInline(VersionsInline, CostTabularInline):
    """A route's costs so far, newest first."""

    model = RouteCost
    verbose_name_plural = "cost versions (US dollars per million tokens)"
    fields = readonly_fields = (
        "version",
        "input_usd",
        "output_usd",
        "cache_read_usd",
        "cache_write_usd",
        "effective_from",
    )
    ordering = ("-version",)


@admin.register(Route)
class RouteAdmin(RouteModelAdmin):
    """All routes in one list, each with its cost."""

    form = RouteForm
    inlines = (RouteCostInline,)
    list_display = ("model", "upstream", "upstream_model", "priority", "weight", "cost_now", "is_enabled")
    list_filter = ("is_enabled", "upstream")
    list_select_related = ("model", "upstream")
    search_fields = ("model__public_id", "upstream__name", "upstream_model")
    autocomplete_fields = ("model", "upstream")
    fieldsets = (
        (None, {"fields": ("model", "upstream", "upstream_model", "priority", "weight", "is_enabled")}),
        (
            "What the upstream charges us",
            {
                "fields": tuple(f"cost_{name}" for name in CLASSES),
                "description": "A change makes a new version, for requests that end from then on; the past stays as it was.",
            },
        ),
    )

    @admin.display(description="cost (USD per million)")
    def cost_now(self, row: Route) -> str:
        """Return what it costs now."""
        return cost_in_words(row)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Route]:
        """Read the costs along with the routes."""
        return super().get_queryset(request).prefetch_related("costs")

    def get_form(
        self, request: HttpRequest, obj: Route | None = None, change: bool = False, **kwargs: Any
    ) -> "type[ModelForm[Route]]":
        """Leave the form its own fields: the cost's are no columns."""
        return super().get_form(request, obj, change=change, **{**kwargs, "fields": RouteForm.Meta.fields})

    def save_model(self, request: HttpRequest, obj: Route, form: Any, change: bool) -> None:
        """Save the row, and a new version of the cost if it changed."""
        super().save_model(request, obj, form, change)
        if form.rates is None:
            return
        cost, is_new = set_route_cost(obj, rates=form.rates)
        if is_new:
            self.message_user(request, f"The cost of {obj} is now version {cost.version}.", messages.SUCCESS)
        warn_below_cost(request, obj.model.public_id)
