"""What is done to an API key after it was made: its limits are changed, it is switched off and on, its secret is rotated."""

from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.views.decorators.http import require_http_methods

from accounts.roles import Permission
from accounts.services.apikeys import (
    ApiKeyStateError,
    InvalidApiKeyOptionError,
    KeyPermissionError,
    disable_api_key,
    enable_api_key,
    update_api_key,
)
from accounts.services.rotation import end_old_secret, rotate_api_key
from dashboard.catalog import listed_models
from dashboard.guards import MemberRequest, member_required
from dashboard.key_forms import KeyForm, RotateKeyForm
from dashboard.views.keys import PAGE, changed, form_again, ids_of, key_or_404, page_context, secret_shown


@require_http_methods(["GET", "POST"])
@member_required(Permission.MANAGE_KEYS)
def edit_key(request: MemberRequest, prefix: str) -> HttpResponseBase:
    """Change a key's name, end and limits; they act from the next request on."""
    key = key_or_404(request, prefix)
    models = listed_models()
    form = KeyForm(request.POST if request.method == "POST" else None, model_ids=ids_of(models), key=key)
    if request.method == "GET":
        context = {"form": form, "editing": key}
        if request.htmx:
            return render(request, f"{PAGE}#key_dialog", context)
        return render(request, PAGE, page_context(request, models) | context)
    if form.is_valid():
        try:
            update_api_key(workspace_id=request.workspace.pk, prefix=prefix, **form.options())
        except (ApiKeyStateError, InvalidApiKeyOptionError) as error:
            form.add_error(None, str(error))
        else:
            return changed(request, f"“{form.cleaned_data['name']}” is changed. It acts from the next request on.")
    return form_again(request, form)


@require_http_methods(["POST"])
@member_required(Permission.MANAGE_KEYS)
def switch_key(request: MemberRequest, prefix: str) -> HttpResponseBase:
    """Switch a key on (``on=1``) or off."""
    key = key_or_404(request, prefix)
    if request.POST.get("on"):
        enable_api_key(workspace_id=request.workspace.pk, prefix=prefix)
        return changed(request, f"“{key.name}” is on again.")
    disable_api_key(workspace_id=request.workspace.pk, prefix=prefix)
    return changed(request, f"“{key.name}” is off: requests with it are refused until you switch it on.")


@require_http_methods(["GET", "POST"])
@member_required(Permission.MANAGE_KEYS)
def rotate_key(request: MemberRequest, prefix: str) -> HttpResponseBase:
    """Ask how long the old secret works on, then show the new one, this once."""
    key = key_or_404(request, prefix)
    form = RotateKeyForm(request.POST if request.method == "POST" else None)
    models = listed_models()
    if form.is_bound and form.is_valid():
        try:
            made = rotate_api_key(
                workspace_id=request.workspace.pk, prefix=prefix, overlap=form.length(), by=request.user
            )
        except (ApiKeyStateError, KeyPermissionError) as error:
            form.add_error(None, str(error))
        else:
            return secret_shown(request, made, models)
    context = page_context(request, models) | {"rotating": key, "rotate_form": form}
    part = "#rotate_form" if form.is_bound else "#rotate_dialog"
    status = 422 if form.is_bound else 200
    return render(request, PAGE + part if request.htmx else PAGE, context, status=status)


@require_http_methods(["POST"])
@member_required(Permission.MANAGE_KEYS)
def end_old(request: MemberRequest, prefix: str) -> HttpResponseBase:
    """End the old secret of a rotated key before its time."""
    key = end_old_secret(workspace_id=request.workspace.pk, prefix=key_or_404(request, prefix).prefix)
    return changed(request, f"The old secret of “{key.name}” has ended: only the new one works.")
