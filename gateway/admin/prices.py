"""The admin's page that changes a model's price: the fields, then what the change would mean, then a new version."""

from typing import TYPE_CHECKING

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from billing.rating import Rates
from gateway.admin.price_form import PriceForm, price_initial
from gateway.admin.routes import warn_below_cost
from gateway.admin.versions import usd
from gateway.models import CatalogModel, Price
from gateway.selectors.catalog import rates_of
from gateway.selectors.price_preview import PricePreview, preview_of
from gateway.services.prices import PriceMovedError, change_price
from lumyx.lib.money import nano_to_usd

if TYPE_CHECKING:  # Django's classes take their parameters in the eyes of the type checker only
    CatalogModelModelAdmin = admin.ModelAdmin[CatalogModel]
else:
    CatalogModelModelAdmin = admin.ModelAdmin

TEMPLATE = "admin/gateway/catalogmodel/price.html"
CONFIRMED, BACK = "_confirmed", "_back"


def newest_price(model: CatalogModel) -> Price | None:
    """Return a model's price now."""
    return Price.objects.filter(model=model).order_by("-version").first()


def price_in_words(model: CatalogModel) -> str:
    """Return it in US dollars per million tokens of input and output."""
    if model.is_free:
        return "free"
    price = newest_price(model)
    return f"{usd(price.input)} in, {usd(price.output)} out" if price else "none yet: it cannot be called"


class PricePage(CatalogModelModelAdmin):
    """An admin of models with that page."""

    def get_urls(self) -> list[URLPattern]:
        """Add the page."""
        view = self.admin_site.admin_view(self.price_view)
        return [path("<path:object_id>/price/", view, name="gateway_catalogmodel_price"), *super().get_urls()]

    def price_view(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        """Show the fields, then the preview, then make the version that was previewed."""
        # The permission first: without it nobody learns which rows there are.
        if not self.has_change_permission(request):
            raise PermissionDenied
        model = self.get_object(request, unquote(object_id))
        if model is None:
            self.message_user(request, f"There is no model {unquote(object_id)}.", messages.WARNING)
            return HttpResponseRedirect(reverse("admin:gateway_catalogmodel_changelist"))
        price = newest_price(model)
        old = rates_of(price) if price else None
        if request.method != "POST":
            initial = {"is_free": model.is_free, "seen_version": price.version if price else 0}
            initial |= price_initial(old, is_free=model.is_free)
            return self._show(request, model, price, PriceForm(initial=initial, model=model))
        form = PriceForm(request.POST, model=model)
        if not form.is_valid() or form.rates is None or BACK in request.POST:
            return self._show(request, model, price, form)
        if CONFIRMED in request.POST:
            return self._change(request, model, form, form.rates)
        return self._show(request, model, price, form, preview=preview_of(model, old=old, new=form.rates))

    def _change(self, request: HttpRequest, model: CatalogModel, form: PriceForm, rates: Rates) -> HttpResponseBase:
        try:
            with transaction.atomic():
                values = form.cleaned_data
                price, is_new = change_price(
                    model, rates=rates, is_free=values["is_free"], seen_version=values["seen_version"]
                )
                self.log_change(request, model, f"The price is version {price.version}: {_told(rates)}.")
        except PriceMovedError as moved:
            self.message_user(request, str(moved), messages.ERROR)
            return HttpResponseRedirect(reverse("admin:gateway_catalogmodel_price", args=[model.pk]))
        said = f"The price of {model} is now version {price.version}." if is_new else f"The price of {model} stays."
        self.message_user(request, said, messages.SUCCESS)
        if is_new and not form.cleaned_data["is_free"]:
            warn_below_cost(request, model.public_id)
        return HttpResponseRedirect(reverse("admin:gateway_catalogmodel_change", args=[model.pk]))

    def _show(
        self,
        request: HttpRequest,
        model: CatalogModel,
        price: Price | None,
        form: PriceForm,
        *,
        preview: PricePreview | None = None,
    ) -> TemplateResponse:
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "original": model,
            "title": "Change the price",
            "subtitle": str(model),
            "home": reverse("admin:gateway_catalogmodel_change", args=[model.pk]),
            "form": form,
            "version": price.version if price else 0,
            "preview": preview,
            "new_is_free": bool(preview) and form.cleaned_data["is_free"],
            "history": Price.objects.filter(model=model).order_by("-version"),
        }
        return TemplateResponse(request, TEMPLATE, context)


def _told(rates: Rates) -> str:
    return f"input {nano_to_usd(rates.input)}, output {nano_to_usd(rates.output)} US dollars per million tokens"
