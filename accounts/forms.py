"""Forms: signing up and in, addresses, and the admin's for making users, workspaces and memberships.

Those of second factors and passkeys are in accounts.factor_forms.
"""

from typing import TYPE_CHECKING, Any, cast

from allauth.account.adapter import get_adapter
from allauth.account.forms import AddEmailForm, ConfirmLoginCodeForm, RequestLoginCodeForm, SignupForm
from allauth.account.forms import ResetPasswordForm as AllauthResetPasswordForm
from django import forms
from django.http import HttpRequest, HttpResponse

from accounts.adapters.account import hides_accounts
from accounts.factor_forms import counted
from accounts.models import Membership, User, Workspace
from accounts.roles import Role
from accounts.selectors.users import address_is_owned, owns_address, user_by_email
from accounts.services.users import InvalidEmailError, normalise_email, rehearse_registration
from accounts.services.workspaces import InvalidWorkspaceNameError, clean_name

if TYPE_CHECKING:  # Django's classes take their parameter in the eyes of the type checker only
    UserModelForm = forms.ModelForm[User]
    WorkspaceModelForm = forms.ModelForm[Workspace]
    MembershipModelForm = forms.ModelForm[Membership]
else:
    UserModelForm = WorkspaceModelForm = MembershipModelForm = forms.ModelForm


class SignUpForm(SignupForm):  # type: ignore[misc]  # allauth has no types
    """Signing up. Where addresses are proved, the answer for a taken one is the same, and its owner gets a message."""

    def validate_unique_email(self, value: str) -> str:
        """Note whether the address is somebody's. Who has only named it, and not proved it, keeps nobody else out."""
        self.account_already_exists = address_is_owned(value)
        if self.account_already_exists and not hides_accounts():
            raise get_adapter().validation_error("email_taken")
        return value

    def try_save(self, request: HttpRequest) -> tuple[User | None, HttpResponse | None]:
        """Save the sign-up, or take as long as that would have taken."""
        if self.account_already_exists:
            rehearse_registration(password=self.cleaned_data["password1"])
        return cast("tuple[User | None, HttpResponse | None]", super().try_save(request))


class AddAddressForm(AddEmailForm):  # type: ignore[misc]  # allauth has no types
    """Another address for a person. One that is somebody else's looks the same, and its owner gets a message instead."""

    def clean_email(self) -> str:
        """Return the address. Where nothing is proved, one that is another user's is refused."""
        email = str(super().clean_email())
        if not hides_accounts() and address_is_owned(email, by_other_than=self.user):
            raise get_adapter().validation_error("email_taken")
        return email


class ResetPasswordForm(AllauthResetPasswordForm):  # type: ignore[misc]  # allauth has no types
    """Asking for a new password: only the account whose address it is gets a link."""

    def clean_email(self) -> str:
        """Leave out accounts that have named the address and not proved it."""
        email = str(super().clean_email())
        self.users: list[User] = [user for user in self.users if owns_address(user, email)]
        return email


class CodeRequestForm(RequestLoginCodeForm):  # type: ignore[misc]  # allauth has no types
    """Asking for a sign-in code: only the account whose address it is gets one."""

    def clean_email(self) -> str:
        """Leave out an account that has named the address and not proved it."""
        email = str(super().clean_email()).strip().lower()
        found: User | None = self._user
        self._user: User | None = found if found is not None and owns_address(found, email) else None
        return email


class CodeForm(ConfirmLoginCodeForm):  # type: ignore[misc]  # allauth has no types
    """The code that came by mail; ``subject`` is the address that it was sent to, or would have been."""

    def __init__(self, *args: Any, subject: str = "", **kwargs: Any) -> None:
        self.subject = subject
        super().__init__(*args, **kwargs)
        self.fields["code"].label = "Code from the message"

    def clean_code(self) -> str:
        """Return the code if it is right, and if the address has not been tried too often."""
        with counted("code", subject=self.subject):
            return str(super().clean_code())


class AddUserForm(UserModelForm):
    """A new user, without a password: they set one by "forgot password"."""

    verified = forms.BooleanField(required=False, help_text="Count the address as proved: it opens free models.")

    class Meta:
        model = User
        fields = ("email", "name")

    def clean_email(self) -> str:
        """Return the address as it will be stored, if nobody has it."""
        try:
            email = normalise_email(self.cleaned_data["email"])
        except InvalidEmailError as error:
            raise forms.ValidationError(str(error)) from error
        if user_by_email(email) is not None:
            raise forms.ValidationError("A user with this e-mail address exists already.")
        return email


class WorkspaceForm(WorkspaceModelForm):
    """A workspace's name, checked like everywhere else."""

    class Meta:
        model = Workspace
        fields = ("name", "owner")

    def clean_name(self) -> str:
        """Return the name, trimmed."""
        try:
            return clean_name(self.cleaned_data["name"])
        except InvalidWorkspaceNameError as error:
            raise forms.ValidationError(str(error)) from error


class MembershipForm(MembershipModelForm):
    """A membership other than the owner's; whose it is cannot change."""

    role = forms.ChoiceField(choices=[(role.value, role.value) for role in Role if role != Role.OWNER])

    class Meta:
        model = Membership
        fields = ("user", "role")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["user"].disabled = self.instance.pk is not None
