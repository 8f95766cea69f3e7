"""People. The e-mail address is the name: there is no user name."""

from typing import ClassVar

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.db import models
from django.db.models.functions import Lower

from lumyx.lib import clock


class UserManager(BaseUserManager["User"]):
    """Makes users; services in accounts.services.users are what other code calls."""

    def create_user(self, email: str, password: str | None = None, **fields: object) -> "User":
        """Make a user. Without a password none works until one is set."""
        user = self.model(email=email.strip().lower(), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: object) -> "User":
        """Make an operator who may do everything in the admin."""
        return self.create_user(email, password, is_staff=True, is_superuser=True, **fields)

    def get_by_natural_key(self, username: str | None) -> "User":
        """Find by e-mail address, whatever its case."""
        return self.get(email=(username or "").strip().lower())


class User(AbstractBaseUser, PermissionsMixin):
    """A person who signs in. ``email`` is stored in lower case."""

    email = models.EmailField(max_length=254, unique=True)
    name = models.CharField(max_length=120, blank=True)
    is_staff = models.BooleanField(default=False)
    is_active = models.BooleanField(default=True)
    date_joined = models.DateTimeField(default=clock.now)
    #: When the address was first proved to be theirs; free models need it. Set by accounts.services.users only.
    email_verified_at = models.DateTimeField(null=True, blank=True)

    objects: ClassVar[UserManager] = UserManager()

    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta:
        constraints = (models.UniqueConstraint(Lower("email"), name="user_email_unique"),)

    def __str__(self) -> str:
        return self.email

    @property
    def email_is_verified(self) -> bool:
        """Whether the address was proved."""
        return self.email_verified_at is not None

    def get_short_name(self) -> str:
        """Return what to call the person on a page."""
        return self.name.split(" ")[0] if self.name else self.email.split("@")[0]
