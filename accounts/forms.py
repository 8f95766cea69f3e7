"""Forms: another address for a person, and the admin's for signing in and making users, workspaces and memberships."""

from typing import TYPE_CHECKING, Any, cast

from allauth.account.adapter import get_adapter
from allauth.account.forms import AddEmailForm
from django import forms
from django.contrib.admin.forms import AdminAuthenticationForm

from accounts.models import Membership, User, Workspace
from accounts.roles import Role
from accounts.selectors.users import address_is_taken, user_by_email
from accounts.services.users import InvalidEmailError, normalise_email
from accounts.services.workspaces import InvalidWorkspaceNameError, clean_name

if TYPE_CHECKING:  # Django's classes take their parameter in the eyes of the type checker only
    UserModelForm = forms.ModelForm[User]
    WorkspaceModelForm = forms.ModelForm[Workspace]
    MembershipModelForm = forms.ModelForm[Membership]
else:
    UserModelForm = WorkspaceModelForm = MembershipModelForm = forms.ModelForm


class AddAddressForm(AddEmailForm):  # type: ignore[misc]  # allauth has no types
    """Another address for a person. Signing up tells whether an address is taken, so this does too."""

    def clean_email(self) -> str:
        """Refuse an address that is another user's: theirs alone may prove it."""
        email = str(super().clean_email())
        if address_is_taken(email, by_other_than=self.user):
            raise get_adapter().validation_error("email_taken")
        return email


class OperatorSignInForm(AdminAuthenticationForm):
    """The admin's own sign-in, under the same limits of failed attempts as the site's."""

    def clean(self) -> dict[str, Any]:
        """Check the password through allauth's adapter, which counts failures by address and by caller."""
        email, password = self.cleaned_data.get("username"), self.cleaned_data.get("password")
        if email and password:
            adapter = get_adapter(self.request)
            user = cast("User | None", adapter.authenticate(self.request, email=email.lower(), password=password))
            if user is None:
                raise self.get_invalid_login_error()
            self.confirm_login_allowed(user)
            self.user_cache = user
        return self.cleaned_data


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
