"""The admin's page that imports models from an upstream's list: ask for it, tick some, say what each is and costs, done.

The list is somebody else's text: it is shown escaped, and what comes back from the form is checked as a catalog file is.
"""

import json
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from gateway.models import CatalogModel, Route, Upstream
from gateway.models.catalog import ModelKind, Protocol
from gateway.services.model_import import ImportRefusedError, Pick, import_models
from gateway.services.upstream_check import NoModelListError, models_of
from gateway.upstreams.model_list import ListedModel

if TYPE_CHECKING:  # Django's classes take their parameters in the eyes of the type checker only
    UpstreamModelAdmin = admin.ModelAdmin[Upstream]
else:
    UpstreamModelAdmin = admin.ModelAdmin

TEMPLATE = "admin/gateway/upstream/import.html"
#: What its form asks for: the list, forms for what was ticked, the import.
ASK, CHOOSE, IMPORT = "_ask", "_choose", "_import"
#: Forms on one page.
MAX_PICKS = 40
PREFIX = "pick"
MONEY = ("price_input", "price_output", "cost_input", "cost_output")
PERMISSIONS = ("gateway.change_upstream", "gateway.add_catalogmodel", "gateway.add_route")


class PickForm(forms.Form):
    """A model to import. Its rules are the catalog file's, which the import tells of: nothing is said twice here."""

    upstream_model = forms.CharField(widget=forms.HiddenInput, max_length=200)
    public_id = forms.CharField(label="Id", required=False, help_text="What clients send as model.")
    display_name = forms.CharField(label="Name", required=False, help_text="Empty: the id.")
    kind = forms.ChoiceField(choices=ModelKind.choices)
    context_window = forms.IntegerField(required=False, help_text="Tokens.")
    max_output_tokens = forms.IntegerField(required=False, help_text="Tokens. Empty: as the context.")
    joins = forms.BooleanField(
        label="The catalog has it: only add a route", required=False, help_text="Its name, limits and price stay."
    )
    is_free = forms.BooleanField(label="Free", required=False, help_text="Counts against the daily limit.")
    price_input = forms.CharField(label="Price, input", required=False)
    price_output = forms.CharField(label="Price, output", required=False)
    cost_input = forms.CharField(label="Cost, input", required=False)
    cost_output = forms.CharField(label="Cost, output", required=False)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in MONEY:
            self.fields[name].widget.attrs["inputmode"] = "decimal"

    def pick(self) -> Pick:
        """Return what the form says; it has to be valid."""
        values = self.cleaned_data
        return Pick(
            **{name: values[name] for name in ("upstream_model", "public_id", "display_name", "kind", "joins")},
            context_window=values["context_window"],
            max_output_tokens=values["max_output_tokens"],
            is_free=values["is_free"],
            price=_classes(values, "price"),
            cost=_classes(values, "cost"),
        )


PickFormSet: Any = forms.formset_factory(PickForm, extra=0, max_num=MAX_PICKS, absolute_max=MAX_PICKS)


class ModelImportPage(UpstreamModelAdmin):
    """An admin of upstreams with that page."""

    def get_urls(self) -> list[URLPattern]:
        """Add the page."""
        view = self.admin_site.admin_view(self.import_view)
        return [path("<path:object_id>/import/", view, name="gateway_upstream_import"), *super().get_urls()]

    def may_import(self, request: HttpRequest) -> bool:
        """Tell whether an operator may ask upstreams for their models, and add to the catalog."""
        return self.has_view_permission(request) and all(request.user.has_perm(name) for name in PERMISSIONS)

    def import_view(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        """Show the step that was asked for. A GET asks nobody for anything."""
        if not self.may_import(request):
            raise PermissionDenied
        upstream = self.get_object(request, unquote(object_id))
        if upstream is None:
            self.message_user(request, f"There is no upstream {unquote(object_id)}.", messages.WARNING)
            return HttpResponseRedirect(reverse("admin:gateway_upstream_changelist"))
        if request.method == "POST" and IMPORT in request.POST:
            return self._import(request, upstream)
        if request.method == "POST" and CHOOSE in request.POST:
            return self._choose(request, upstream)
        if request.method == "POST":
            return self._list(request, upstream)
        return self._show(request, upstream, has_list=upstream.protocol != Protocol.SANDBOX)

    def _list(self, request: HttpRequest, upstream: Upstream) -> HttpResponseBase:
        try:
            found = models_of(upstream)
        except NoModelListError as problem:
            self.message_user(request, f"{upstream} gave no list of models. {problem}", messages.ERROR)
            return self._show(request, upstream, has_list=upstream.protocol != Protocol.SANDBOX)
        routed: dict[str, list[str]] = {}
        for name, model in Route.objects.filter(upstream=upstream).values_list("upstream_model", "model__public_id"):
            routed.setdefault(name, []).append(model)
        models = sorted(found.models.values(), key=lambda model: model.id)
        return self._show(
            request,
            upstream,
            step="list",
            new=[(model, _packed(model)) for model in models if model.id not in routed],
            known=[(model, ", ".join(routed[model.id])) for model in models if model.id in routed],
            total=len(models),
            left_out=found.left_out,
            max_picks=MAX_PICKS,
        )

    def _choose(self, request: HttpRequest, upstream: Upstream) -> HttpResponseBase:
        ticked = list(dict.fromkeys(request.POST.getlist("model")))
        picked = [model for model in map(_unpacked, ticked) if model is not None][:MAX_PICKS]
        if not picked:
            self.message_user(request, "Tick the models that you want first.", messages.WARNING)
            return self._list(request, upstream)
        if len(ticked) > MAX_PICKS:
            told = f"{MAX_PICKS} at a time: these are the first. Ask for the list again for the others."
            self.message_user(request, told, messages.WARNING)
        known = set(
            CatalogModel.objects.filter(public_id__in=[m.id for m in picked]).values_list("public_id", flat=True)
        )
        initial = [_initial(model, is_known=model.id in known) for model in picked]
        return self._show(request, upstream, step="forms", formset=PickFormSet(initial=initial, prefix=PREFIX))

    def _import(self, request: HttpRequest, upstream: Upstream) -> HttpResponseBase:
        formset = PickFormSet(request.POST, prefix=PREFIX)
        if not formset.is_valid():
            return self._show(request, upstream, step="forms", formset=formset)
        try:
            with transaction.atomic():
                diff = import_models(upstream, [form.pick() for form in formset])
                self._write_down(request, upstream, [form.pick() for form in formset])
        except ImportRefusedError as refused:
            problems = []
            for number, name, told in refused.problems:
                if number is not None and number < len(formset) and name in formset[number].fields:
                    formset[number].add_error(name, told)
                else:
                    problems.append(told)
            return self._show(request, upstream, step="forms", formset=formset, problems=problems)
        models = [line.removeprefix("model ") for line in diff.created if line.startswith("model ")]
        routes = sum(line.startswith("route ") for line in diff.created)
        added = f"{len(models)} model{'' if len(models) == 1 else 's'} and {routes} route{'' if routes == 1 else 's'}"
        self.message_user(request, f"Imported from {upstream}: {added}. They can be called now.", messages.SUCCESS)
        return HttpResponseRedirect(reverse("admin:gateway_catalogmodel_changelist"))

    def _write_down(self, request: HttpRequest, upstream: Upstream, picks: list[Pick]) -> None:
        """Keep in the history, and in the audit log, what was imported from whom."""
        rows: QuerySet[Any] = CatalogModel.objects.filter(public_id__in=[pick.public_id for pick in picks])
        for row in rows:
            self.log_change(request, row, f"Imported from {upstream}.")
        self.log_change(request, upstream, f"Imported {', '.join(pick.upstream_model for pick in picks)}.")

    def _show(self, request: HttpRequest, upstream: Upstream, *, step: str = "ask", **shown: Any) -> TemplateResponse:
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "original": upstream,
            "title": "Import models",
            "subtitle": str(upstream),
            "home": reverse("admin:gateway_upstream_change", args=[upstream.pk]),
            "step": step,
            **shown,
        }
        return TemplateResponse(request, TEMPLATE, context)


def _classes(values: dict[str, Any], kind: str) -> dict[str, str]:
    given = {name: values[f"{kind}_{name}"].strip() for name in ("input", "output")}
    return {name: text for name, text in given.items() if text}


def _initial(model: ListedModel, *, is_known: bool) -> dict[str, Any]:
    return {
        "upstream_model": model.id,
        "public_id": model.id,
        "display_name": model.name,
        "kind": (ModelKind.EMBEDDING if model.is_embedding else ModelKind.CHAT).value,
        "context_window": model.context_window,
        "max_output_tokens": None if model.is_embedding else model.max_output_tokens,
        "joins": is_known,
    }


def _packed(model: ListedModel) -> str:
    """Return a listed model as the value of its tick: what it told goes along with it, into the next form."""
    told = [model.id, model.name, model.is_embedding, model.context_window, model.max_output_tokens]
    return json.dumps(told, ensure_ascii=False)


def _unpacked(text: str) -> ListedModel | None:
    """Return the model of a tick; None for what is none: a browser may send anything."""
    try:
        name, title, is_embedding, window, output = json.loads(text)
    except (ValueError, TypeError, RecursionError):
        return None
    if not (isinstance(name, str) and isinstance(title, str)):
        return None
    numbers = [number if isinstance(number, int) else None for number in (window, output)]
    return ListedModel(name, title, is_embedding is True, *numbers)
