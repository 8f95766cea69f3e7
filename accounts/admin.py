"""The admin's pages of people, workspaces and keys. What changes access goes through the services; keys are read-only."""

from typing import TYPE_CHECKING, Any

import allauth.account.admin  # noqa: F401  registers its page of addresses, so that it can be taken away below
from allauth.account.models import EmailAddress
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

import accounts.announcement_admin
import accounts.audit_admin  # noqa: F401  registers the audit log
from accounts.forms import AddUserForm, MembershipForm, WorkspaceForm
from accounts.models import ApiKey, Membership, PolicyAcceptance, User, Workspace
from accounts.roles import Role
from accounts.services.apikeys import revoke_api_key
from accounts.services.users import EmailTakenError, activate_user, create_user, deactivate_user, mark_email_verified
from accounts.services.workspaces import (
    OwnerIsFixedError,
    WorkspaceIsClosingError,
    create_workspace,
    remove_member,
    resume_workspace,
    set_member,
    suspend_workspace,
)

if TYPE_CHECKING:  # Django's classes take their parameters in the eyes of the type checker only
    from django.forms import BaseInlineFormSet, ModelForm

    AnyInline = admin.TabularInline[Any, Any]
    MemberInline = admin.TabularInline[Membership, Workspace]
    MemberFormSet = BaseInlineFormSet[Membership, Workspace, ModelForm[Membership]]
    UserModelAdmin = admin.ModelAdmin[User]
    WorkspaceModelAdmin = admin.ModelAdmin[Workspace]
    ApiKeyModelAdmin = admin.ModelAdmin[ApiKey]
else:
    AnyInline = MemberInline = admin.TabularInline
    UserModelAdmin = WorkspaceModelAdmin = ApiKeyModelAdmin = admin.ModelAdmin

admin.site.site_header = admin.site.site_title = "LumyxAI operators"
admin.site.index_title = "Overview"
# Edited there, an address would be proved without User.email_verified_at knowing: the user's page shows them instead.
admin.site.unregister(EmailAddress)


class ReadOnlyInline(AnyInline):
    """Rows that are shown beside their parent and changed elsewhere."""

    extra = 0
    can_delete = False
    show_change_link = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nothing is added here."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nothing is changed here."""
        return False


class EmailAddressInline(ReadOnlyInline):
    """The addresses that allauth knows of a person."""

    model = EmailAddress
    fields = ("email", "verified", "primary")


@admin.register(User)
class UserAdmin(UserModelAdmin):
    """People. Only a superuser may hand out, or touch those who have, the admin's own powers."""

    list_display = ("email", "name", "email_verified_at", "is_active", "is_staff", "date_joined")
    list_filter = ("is_active", "is_staff")
    search_fields = ("email", "name")
    ordering = ("-date_joined", "-pk")
    date_hierarchy = "date_joined"
    filter_horizontal = ("groups", "user_permissions")
    inlines = (EmailAddressInline,)
    actions = ("deactivate", "activate", "verify_email")
    show_full_result_count = False

    POWERS = ("is_staff", "is_superuser", "groups", "user_permissions")

    def get_fields(self, request: HttpRequest, obj: User | None = None) -> Any:
        """Return what the page shows: never the password."""
        if obj is None:
            return ["email", "name", "verified"]
        return ["email", "name", "email_verified_at", "is_active", "last_login", "date_joined", *self.POWERS]

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> list[str]:
        """Fix what has an action of its own, and, but for superusers, the admin's powers."""
        if obj is None:
            return []
        fixed = ["email", "email_verified_at", "is_active", "last_login", "date_joined"]
        return fixed if request.user.is_superuser else [*fixed, *self.POWERS]

    def get_form(self, request: HttpRequest, obj: User | None = None, change: bool = False, **options: Any) -> Any:
        """Return the short form for a new user."""
        if obj is None:
            options["form"] = AddUserForm
        return super().get_form(request, obj, change, **options)

    def get_inlines(self, request: HttpRequest, obj: User | None) -> Any:
        """Show addresses once there is a user."""
        return self.inlines if obj else ()

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        """Keep superusers out of other operators' reach."""
        within_reach = obj is None or not obj.is_superuser or request.user.is_superuser
        return within_reach and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        """People are shut out, not deleted: the books name them."""
        return False

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        """Make new users by the service."""
        if change:
            super().save_model(request, obj, form, change)
            return
        made = create_user(obj.email, name=obj.name, verified=form.cleaned_data["verified"])
        obj.pk, obj._state.adding = made.pk, False

    @admin.action(description="Shut out (no sign-in, their API keys are revoked)", permissions=["change"])
    def deactivate(self, request: HttpRequest, users: QuerySet[User]) -> None:
        """Shut people out."""
        for user in self._within_reach(request, users):
            deactivate_user(user)

    @admin.action(description="Let back in (their keys stay revoked)", permissions=["change"])
    def activate(self, request: HttpRequest, users: QuerySet[User]) -> None:
        """Let people back in."""
        for user in self._within_reach(request, users):
            activate_user(user)

    @admin.action(description="Count the e-mail address as proved", permissions=["change"])
    def verify_email(self, request: HttpRequest, users: QuerySet[User]) -> None:
        """Vouch for addresses."""
        for user in self._within_reach(request, users):
            try:
                mark_email_verified(user)
            except EmailTakenError as error:
                self.message_user(request, str(error), messages.ERROR)

    def _within_reach(self, request: HttpRequest, users: QuerySet[User]) -> list[User]:
        reachable = [u for u in users if u.pk != request.user.pk and self.has_change_permission(request, u)]
        if len(reachable) < users.count():
            self.message_user(
                request, "Left out: yourself, and superusers (only a superuser may change them).", messages.WARNING
            )
        return reachable


class MembershipInline(MemberInline):
    """The members of a workspace but its owner."""

    model = Membership
    form = MembershipForm
    autocomplete_fields = ("user",)
    extra = 0

    def get_queryset(self, request: HttpRequest) -> QuerySet[Membership]:
        """Leave the owner out: they are a field of the workspace, and fixed."""
        return super().get_queryset(request).exclude(role=Role.OWNER).select_related("user")


class PolicyAcceptanceInline(ReadOnlyInline):
    """What a workspace has accepted."""

    model = PolicyAcceptance
    fields = ("policy", "version", "accepted_at", "accepted_by_user", "accepted_by")


@admin.register(Workspace)
class WorkspaceAdmin(WorkspaceModelAdmin):
    """Workspaces: their members, and stopping them."""

    form = WorkspaceForm
    list_display = ("slug", "name", "owner", "created_at", "suspended_at")
    list_filter = (("suspended_at", admin.EmptyFieldListFilter),)
    list_select_related = ("owner",)
    search_fields = ("slug", "name", "owner__email")
    ordering = ("-created_at", "-pk")
    autocomplete_fields = ("owner",)
    inlines = (MembershipInline, PolicyAcceptanceInline)
    actions = ("suspend", "resume")
    show_full_result_count = False

    KNOWN = (
        "slug", "time_zone", "created_at", "suspended_at", "suspension_reason", "deletion_due_at", "deleted_at",
    )  # fmt: skip

    def get_fields(self, request: HttpRequest, obj: Workspace | None = None) -> Any:
        """Return name and owner for a new workspace, else all of it."""
        return ["name", "owner", *(self.KNOWN if obj else ())]

    def get_readonly_fields(self, request: HttpRequest, obj: Workspace | None = None) -> list[str]:
        """Fix everything but the name."""
        return ["owner", *self.KNOWN] if obj else []

    def get_inlines(self, request: HttpRequest, obj: Workspace | None) -> Any:
        """Show members once there is a workspace."""
        return self.inlines if obj else ()

    def has_delete_permission(self, request: HttpRequest, obj: Workspace | None = None) -> bool:
        """Workspaces are suspended, not deleted: the books name them."""
        return False

    def save_model(self, request: HttpRequest, obj: Workspace, form: Any, change: bool) -> None:
        """Make new workspaces by the service."""
        if change:
            obj.save(update_fields=["name"])
            return
        made = create_workspace(obj.name, owner=obj.owner)
        obj.pk, obj.slug, obj._state.adding = made.pk, made.slug, False

    def save_formset(
        self,
        request: HttpRequest,
        form: Any,
        formset: "MemberFormSet",
        change: bool,
    ) -> None:
        """Add, change and remove members by the services, which revoke keys where a right is lost."""
        formset.save(commit=False)
        try:
            for member in formset.deleted_objects:
                remove_member(member.workspace, user=member.user)
            for member in [*formset.new_objects, *(changed for changed, _ in formset.changed_objects)]:
                set_member(member.workspace, user=member.user, role=Role(member.role))
        except OwnerIsFixedError as error:
            self.message_user(request, str(error), messages.ERROR)

    @admin.action(description="Suspend (their API keys are refused)", permissions=["change"])
    def suspend(self, request: HttpRequest, workspaces: QuerySet[Workspace]) -> None:
        """Stop workspaces."""
        for workspace in workspaces:
            suspend_workspace(workspace.pk, reason=f"suspended in the admin by {request.user}")

    @admin.action(description="Resume", permissions=["change"])
    def resume(self, request: HttpRequest, workspaces: QuerySet[Workspace]) -> None:
        """Let workspaces work again."""
        for workspace in workspaces:
            try:
                resume_workspace(workspace.pk)
            except WorkspaceIsClosingError as error:
                self.message_user(request, str(error), messages.ERROR)


@admin.register(ApiKey)
class ApiKeyAdmin(ApiKeyModelAdmin):
    """API keys: to look at and to revoke. Neither secret nor digest is on any page."""

    list_display = ("prefix", "name", "workspace", "created_by", "state", "created_at", "expires_at", "last_used_at")
    list_filter = (("revoked_at", admin.EmptyFieldListFilter), "is_test")
    list_select_related = ("workspace", "created_by")
    search_fields = ("prefix", "name", "workspace__slug")
    ordering = ("-created_at", "-pk")
    fields = (
        "workspace", "name", "prefix", "last_four", "state", "is_test", "allowed_models",
        "created_by", "created_at", "expires_at", "revoked_at", "last_used_at",
    )  # fmt: skip
    readonly_fields = ("state",)
    actions = ("revoke",)
    show_full_result_count = False

    @admin.display(description="state")
    def state(self, key: ApiKey) -> str:
        """Return whether the key works."""
        return key.state

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Keys are made on the site or the command line, where the secret is shown once."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: ApiKey | None = None) -> bool:
        """Nothing of a key changes but by revoking it."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: ApiKey | None = None) -> bool:
        """Keys are revoked, not deleted: usage names them."""
        return False

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        """Tell who may revoke: whoever has the permission to change API keys."""
        return request.user.has_perm("accounts.change_apikey")

    @admin.action(description="Revoke for good", permissions=["revoke"])
    def revoke(self, request: HttpRequest, keys: QuerySet[ApiKey]) -> None:
        """Revoke keys."""
        for key in keys:
            revoke_api_key(workspace_id=key.workspace_id, prefix=key.prefix)
