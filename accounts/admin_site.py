"""The operators' admin site: who gets in, and that whatever is added, changed, deleted or run in it is written into the audit log.

It has no form of its own to sign in with: the site's page checks everybody alike, and leads back here. The audit log has one
hook for every model: each registered admin is given the mix-in below, whichever app it comes from.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import wraps
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.contrib.admin import AdminSite, ModelAdmin
from django.contrib.admin.options import Action, ActionLocation
from django.contrib.auth import REDIRECT_FIELD_NAME
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache

from accounts.adapters.account import is_path_of_this_site
from accounts.models import User, Workspace
from accounts.second_step import has_app, has_passed_second_factor, has_second_factor
from accounts.services.audit import record

CHANGED, ACTED = "operator.changed", "operator.acted"
#: Django's own action, which asks first, and then logs what it deletes.
DELETES = "delete_selected"


class AuditedAdmin:
    """Beside Django's own history of a row, a line in the audit log: which row, and which fields; never their contents."""

    def log_addition(self, request: HttpRequest, obj: Model, message: Any) -> Any:
        """Write an addition down."""
        _record(obj, "added", message)
        return super().log_addition(request, obj, message)  # type: ignore[misc]  # of the admin that it is mixed into

    def log_change(self, request: HttpRequest, obj: Model, message: Any) -> Any:
        """Write a change down."""
        _record(obj, "changed", message)
        return super().log_change(request, obj, message)  # type: ignore[misc]  # see above

    def log_deletions(self, request: HttpRequest, queryset: QuerySet[Model]) -> Any:
        """Write deletions down."""
        for obj in queryset:
            _record(obj, "deleted", "")
        return super().log_deletions(request, queryset)  # type: ignore[misc]  # see above

    def get_actions(
        self, request: HttpRequest, action_location: ActionLocation = ActionLocation.CHANGE_LIST
    ) -> dict[str, Any]:
        """Return the actions, each of which writes down what it is run on."""
        found = super().get_actions(request, action_location=action_location)  # type: ignore[misc]  # see above
        return {
            name: action if name == DELETES else replace(action, func=_written_down(action))
            for name, action in found.items()
        }


def _written_down(action: Action) -> Callable[..., Any]:
    """Return an action that is written down, row by row, before it runs: it may break off, or ask somebody else's server."""

    @wraps(action.func)
    def run(model_admin: "ModelAdmin[Any]", request: HttpRequest, rows: QuerySet[Any]) -> Any:
        for row in rows:
            _record(row, f"{action.name}:", "", action=ACTED)
        return action.func(model_admin, request, rows)

    return run


class OperatorSite(AdminSite):
    """Django's admin site with that hook, behind the site's own sign-in and a second factor."""

    def has_permission(self, request: HttpRequest) -> bool:
        """Tell whether a request may see any page of the admin: every one of them asks here first."""
        user = request.user
        if not (isinstance(user, User) and user.is_active and user.is_staff):
            return False
        return not settings.ADMIN_REQUIRES_SECOND_FACTOR or has_passed_second_factor(request, user)

    @method_decorator(never_cache)
    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Lead to whatever is missing: signing in, setting a second factor up, giving it; nobody else gets further."""
        onward = self._onward(request)
        if self.has_permission(request):
            return redirect(onward)
        user = request.user
        if not user.is_authenticated:
            return redirect(f"{reverse('account_login')}?{urlencode({REDIRECT_FIELD_NAME: onward})}")
        if not user.is_staff:
            raise PermissionDenied("The admin is for operators. Sign out, and sign in with an operator's account.")
        if has_second_factor(user):
            asks = "mfa_reauthenticate" if has_app(user) else "mfa_reauthenticate_webauthn"
            return redirect(f"{reverse(asks)}?{urlencode({REDIRECT_FIELD_NAME: onward})}")
        return TemplateResponse(request, "admin/second_factor.html")

    def password_change(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """Lead to the site's own page, which asks who it is first."""
        return redirect("account_change_password")

    def password_change_done(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """Lead to the site's own page."""
        return redirect("account_change_password")

    def _onward(self, request: HttpRequest) -> str:
        """Return the page of this site that was asked for, or the first of the admin."""
        onward = request.GET.get(REDIRECT_FIELD_NAME, "")
        return onward if is_path_of_this_site(onward) else reverse("admin:index", current_app=self.name)

    def register(
        self,
        model_or_iterable: type[Model] | Iterable[type[Model]],
        admin_class: "type[ModelAdmin[Any]] | None" = None,
        **options: Any,
    ) -> None:
        """Register a model with an admin that writes down what is done in it."""
        kind: Any = admin_class or ModelAdmin
        audited = kind if issubclass(kind, AuditedAdmin) else type(kind.__name__, (AuditedAdmin, kind), {})
        super().register(model_or_iterable, audited, **options)


def _record(obj: Model, what: str, message: Any, *, action: str = CHANGED) -> None:
    # People are named by their ids.
    name = "" if isinstance(obj, User) else str(obj)
    record(
        action,
        workspace_id=obj.pk if isinstance(obj, Workspace) else getattr(obj, "workspace_id", None),
        target=(str(obj._meta.model_name), obj.pk, name),
        details={"what": f"{what} {obj._meta.verbose_name}", "fields": _fields_of(message)},
    )


def _fields_of(message: Any) -> list[str]:
    """Return the names of the fields that Django's message about a change names."""
    if not isinstance(message, list):
        return []
    return [str(field) for part in message for told in part.values() for field in told.get("fields", ())]
