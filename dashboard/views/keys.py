"""The API keys page: list, create, revoke. A new key's secret is in one answer and nowhere else.

Each story works with htmx (a dialog over the list) and without any script (the same form on a page of its own).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from django.contrib import messages
from django.http import Http404
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods
from django_htmx.http import trigger_client_event

from accounts.roles import Permission, role_allows
from accounts.selectors.apikeys import api_keys_of
from accounts.services.apikeys import (
    InvalidApiKeyOptionError,
    KeyPermissionError,
    NewApiKey,
    create_api_key,
    revoke_api_key,
)
from dashboard.catalog import listed_models
from dashboard.forms import RevokeKeyForm
from dashboard.guards import MemberRequest, member_required
from dashboard.key_forms import KeyForm
from dashboard.keys import key_rows
from dashboard.snippets import first_call
from gateway.types import ModelInfo

if TYPE_CHECKING:
    from accounts.models import ApiKey

PAGE = "dashboard/keys.html"
#: What the sample calls when the catalog is empty.
SAMPLE_MODEL = "lumyx-plus_v1"


@require_GET
@member_required(Permission.VIEW)
def show_keys(request: MemberRequest) -> HttpResponseBase:
    """List the workspace's keys; with ``?new`` the form to create one is open."""
    models = listed_models()
    may_create = role_allows(request.membership.role, Permission.MANAGE_KEYS)
    form = KeyForm(model_ids=ids_of(models)) if may_create and "new" in request.GET else None
    if form and request.htmx:
        return render(request, f"{PAGE}#key_dialog", {"form": form})
    return render(request, PAGE, page_context(request, models) | {"form": form})


@require_http_methods(["POST"])
@member_required(Permission.MANAGE_KEYS)
def create_key(request: MemberRequest) -> HttpResponseBase:
    """Create a key and show its secret, this once: it is in this answer only, never in the session or a log."""
    models = listed_models()
    form = KeyForm(request.POST, model_ids=ids_of(models))
    created = _create(request, form) if form.is_valid() else None
    if created is None:
        return form_again(request, form)
    return secret_shown(request, created, models)


def form_again(request: MemberRequest, form: KeyForm) -> HttpResponseBase:
    """Return the form with what was typed and what is wrong with it."""
    context = page_context(request, listed_models()) | {"form": form, "editing": form.key}
    return render(request, f"{PAGE}#key_form" if request.htmx else PAGE, context, status=422)


def secret_shown(request: MemberRequest, created: NewApiKey, models: Sequence[ModelInfo]) -> HttpResponseBase:
    """Return the one answer that holds a new secret."""
    context = page_context(request, models) | {
        "is_swap": bool(request.htmx),
        "created": created.row,
        "secret": created.secret,
        "curl": _curl_with(created, models),
    }
    return render(request, f"{PAGE}#created" if request.htmx else PAGE, context)


@require_http_methods(["GET", "POST"])
@member_required(Permission.MANAGE_KEYS)
def revoke_key(request: MemberRequest, prefix: str) -> HttpResponseBase:
    """Ask for the key's name, then revoke it. Another workspace's key does not exist here."""
    key = key_or_404(request, prefix)
    form = RevokeKeyForm(request.POST or None, key_name=key.name)
    if request.method == "POST" and form.is_valid():
        revoke_api_key(workspace_id=request.workspace.pk, prefix=prefix)
        return changed(request, f"“{key.name}” is revoked: requests with it are refused from now on.")
    context = page_context(request, listed_models()) | {"revoking": key, "revoke_form": form}
    status = 422 if form.is_bound else 200
    part = "#revoke_form" if form.is_bound else "#revoke_dialog"
    return render(request, PAGE + part if request.htmx else PAGE, context, status=status)


def key_or_404(request: MemberRequest, prefix: str) -> "ApiKey":
    """Return a key of the workspace. Raises Http404."""
    key = api_keys_of(request.workspace.pk).filter(prefix=prefix).first()
    if key is None:
        raise Http404("This workspace has no such key.")
    return key


def changed(request: MemberRequest, text: str) -> HttpResponseBase:
    """Return the list as it is now, and say what was done."""
    if request.htmx:
        answer = render(request, f"{PAGE}#changed", page_context(request) | {"is_swap": True})
        return trigger_client_event(answer, "toast", {"text": text})
    messages.success(request, text)
    return redirect("dashboard:keys")


def _create(request: MemberRequest, form: KeyForm) -> NewApiKey | None:
    """Return the new key, or None with the reason on the form."""
    try:
        return create_api_key(
            workspace=request.workspace,
            created_by=request.user,
            is_test=form.cleaned_data["is_test"],
            **form.options(),
        )
    except (InvalidApiKeyOptionError, KeyPermissionError) as error:
        form.add_error(None, str(error))
        return None


def _curl_with(created: NewApiKey, models: Sequence[ModelInfo]) -> str:
    """Return a command that works as it is: the new key, and a model that it may call."""
    allowed = created.row.allowed_models
    exact = next((id for id in allowed if not id.endswith("/*")), None)
    begun = tuple(id[:-1] for id in allowed if id.endswith("/*"))
    fitting = next((model.public_id for model in models if begun and model.public_id.startswith(begun)), None)
    model = exact or fitting or sample_model(models)
    return next(tab.text for tab in first_call(model=model, api_key=created.secret) if tab.key == "curl")


def ids_of(models: Sequence[ModelInfo]) -> list[str]:
    """Return the models' public ids."""
    return [model.public_id for model in models]


def sample_model(models: Sequence[ModelInfo]) -> str:
    """Return the id for a first try: a free chat model if there is one, else any chat model."""
    chat = [model for model in models if model.kind == "chat"]
    first = next((model for model in chat if model.is_free), chat[0] if chat else None)
    return first.public_id if first else SAMPLE_MODEL


def page_context(request: MemberRequest, models: Sequence[ModelInfo] = ()) -> dict[str, object]:
    """Return what every state of the page shows: the keys (working ones first) and the samples."""
    return {
        "rows": key_rows(request.workspace.pk),
        "may_manage": role_allows(request.membership.role, Permission.MANAGE_KEYS),
        "may_manage_members": role_allows(request.membership.role, Permission.MANAGE_MEMBERS),
        "sample": first_call(model=sample_model(models)),
    }
