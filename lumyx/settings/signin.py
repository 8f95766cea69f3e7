"""How people sign in: passwords, codes, second factors, passkeys, providers, sessions; and how often each may be tried."""

from typing import Any
from urllib.parse import urlsplit

from lumyx.env import Env

AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
# The first makes new hashes; a password in one of the others is hashed anew when its owner signs in.
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "/login"
LOGIN_REDIRECT_URL = "/dashboard"
LOGOUT_REDIRECT_URL = "/"

ACCOUNT_ADAPTER = "accounts.adapters.account.AccountAdapter"
ACCOUNT_FORMS = {
    "signup": "accounts.forms.SignUpForm",
    "add_email": "accounts.forms.AddAddressForm",
    "reset_password": "accounts.forms.ResetPasswordForm",
    "request_login_code": "accounts.forms.CodeRequestForm",
    "confirm_login_code": "accounts.forms.CodeForm",
}
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
# An account is used only by whoever proved its address. False: nothing needs a proof (an installation without mail).
LUMYX_EMAIL_VERIFICATION = True
# With "mandatory" a sign-up tells nobody whether an address has an account: the answer goes to the address.
ACCOUNT_EMAIL_VERIFICATION = "mandatory"
ACCOUNT_PREVENT_ENUMERATION = True
ACCOUNT_EMAIL_NOTIFICATIONS = True
ACCOUNT_MAX_EMAIL_ADDRESSES = 3
ACCOUNT_CONFIRM_EMAIL_ON_GET = False
# Only in the browser that signed up, or that gave the password: elsewhere the link proves the address and signs nobody in.
ACCOUNT_LOGIN_ON_EMAIL_CONFIRMATION = True
# Seconds that a sign-in may stay half done: until the link, or the second step.
ACCOUNT_LOGIN_TIMEOUT = 1800
ACCOUNT_EMAIL_SUBJECT_PREFIX = ""
ACCOUNT_UNIQUE_EMAIL = True
ACCOUNT_LOGOUT_ON_GET = False
ALLAUTH_TRUSTED_PROXY_COUNT = 0
# Seconds that a proof of who it is (password, code, passkey) lasts for changes of the account's security.
ACCOUNT_REAUTHENTICATION_REQUIRED = True
ACCOUNT_REAUTHENTICATION_TIMEOUT = 600
# Eight letters of 20: 2.6e10 codes. One lives five minutes and three tries; it can be sent once more.
ACCOUNT_LOGIN_BY_CODE_ENABLED = True
ACCOUNT_LOGIN_BY_CODE_MAX_ATTEMPTS = 3
ACCOUNT_LOGIN_BY_CODE_TIMEOUT = 300
ACCOUNT_LOGIN_BY_CODE_SUPPORTS_RESEND = 1
#: Beside allauth's own: no address is tried more than a hundred times a day, from however many places.
ACCOUNT_RATE_LIMITS: dict[str, str] | bool = {"login_failed": "10/m/ip,5/300s/key,100/d/key"}
#: Seconds. Answers that could tell by their time whether an address has an account come at multiples of it; 0: at once.
LUMYX_ANSWER_STEP: float = 0.5

MFA_ADAPTER = "accounts.adapters.mfa.MFAAdapter"
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_FORMS = {
    "authenticate": "accounts.factor_forms.SecondFactorForm",
    "reauthenticate": "accounts.factor_forms.SecondFactorAgainForm",
    "add_webauthn": "accounts.factor_forms.AddPasskeyForm",
    "edit_webauthn": "accounts.factor_forms.RenamePasskeyForm",
}
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_RECOVERY_CODES_SHOW_ONCE = True
MFA_TOTP_ISSUER = "LumyxAI"
# Phones' clocks are off by seconds: the code before and the code after count too, each once (accounts.factor_forms).
MFA_TOTP_TOLERANCE = 1
# Whoever changes their address need not switch the second factor off for it. The address in use is proved anyway.
MFA_ALLOW_UNVERIFIED_EMAIL = True

#: The admin opens only in a session in which a second factor was given; who has none is led to set one up.
ADMIN_REQUIRES_SECOND_FACTOR = True

USERSESSIONS_ADAPTER = "accounts.adapters.sessions.SessionsAdapter"
# accounts.middleware does it, and not at every request.
USERSESSIONS_TRACK_ACTIVITY = False

SOCIALACCOUNT_ADAPTER = "accounts.adapters.providers.ProvidersAdapter"
SOCIALACCOUNT_AUTO_SIGNUP = True
SOCIALACCOUNT_EMAIL_AUTHENTICATION = True
SOCIALACCOUNT_EMAIL_AUTHENTICATION_AUTO_CONNECT = True
SOCIALACCOUNT_LOGIN_ON_GET = False
SOCIALACCOUNT_STORE_TOKENS = False
SOCIALACCOUNT_PROVIDERS: dict[str, Any] = {}


def providers_from(env: Env, *, allow_http: bool = False) -> dict[str, Any]:
    """Return SOCIALACCOUNT_PROVIDERS from the environment: each provider that has its variables. Half of them is a problem.

    Args:
        env: collects what is wrong.
        allow_http: let the OpenID Connect server be reached without TLS (development).
    """
    found: dict[str, Any] = {}
    for provider, options in (
        (
            "google",
            {"SCOPE": ["profile", "email"], "AUTH_PARAMS": {"access_type": "online"}, "OAUTH_PKCE_ENABLED": True},
        ),
        ("github", {"SCOPE": ["user:email"]}),
    ):
        client = _client_from(env, provider.upper())
        if client:
            found[provider] = {"APPS": [client], **options}
    client = _client_from(env, "OIDC")
    server = env.text("OIDC_SERVER_URL", "").rstrip("/")
    if bool(client) != bool(server):
        env.problems.append(
            "OIDC_SERVER_URL, OIDC_CLIENT_ID and OIDC_CLIENT_SECRET go together: set all three or none."
        )
    elif client:
        if urlsplit(server).scheme not in ({"https", "http"} if allow_http else {"https"}):
            env.problems.append("OIDC_SERVER_URL must begin with https://.")
        app = {
            "provider_id": "oidc",
            "name": env.text("OIDC_NAME", "single sign-on"),
            "settings": {"server_url": server},
        }
        found["openid_connect"] = {"APPS": [{**client, **app}], "OAUTH_PKCE_ENABLED": True}
    return found


def _client_from(env: Env, name: str) -> dict[str, str] | None:
    """Return a provider's client, or None where neither variable is set."""
    client, secret = env.text(f"{name}_CLIENT_ID", ""), env.text(f"{name}_CLIENT_SECRET", "")
    if bool(client) != bool(secret):
        env.problems.append(f"{name}_CLIENT_ID and {name}_CLIENT_SECRET go together: set both or neither.")
    return {"client_id": client, "secret": secret} if client and secret else None
