"""The accounts app's own pages. Included before allauth's: where one has allauth's path and name, it replaces allauth's."""

from allauth.account import app_settings
from allauth.account import views as account
from allauth.socialaccount.providers.github import views as github
from allauth.socialaccount.providers.google import views as google
from allauth.socialaccount.providers.openid_connect import views as openid_connect
from django.urls import include, path

from accounts.pacing import paced
from accounts.views import (
    AddressesView,
    AppSetUpView,
    CodeView,
    SessionsView,
    development_html,
    development_mail,
    development_message,
    end_session,
    lead_to_account,
    leaving,
)

development_patterns = (
    [
        path("mail", development_mail, name="mail"),
        path("mail/<str:name>", development_message, name="message"),
        path("mail/<str:name>/html", development_html, name="message_html"),
    ],
    "dev",
)

urlpatterns = [
    path("accounts/email/", paced(AddressesView.as_view()), name="account_email"),
    path("accounts/password/reset/", paced(account.password_reset), name="account_reset_password"),
    path("accounts/login/code/confirm/", paced(CodeView.as_view()), name="account_confirm_login_code"),
    path("accounts/2fa/totp/activate/", AppSetUpView.as_view(), name="mfa_activate_totp"),
    path("accounts/2fa/", lead_to_account, name="mfa_index"),
    path("accounts/2fa/webauthn/", lead_to_account, name="mfa_list_webauthn"),
    path("accounts/sessions/", SessionsView.as_view(), name="usersessions_list"),
    path("accounts/sessions/<int:session_id>/end", end_session, name="account_end_session"),
    path("accounts/google/login/", leaving(google.oauth2_login), name="google_login"),
    path("accounts/github/login/", leaving(github.oauth2_login), name="github_login"),
    path("accounts/oidc/<provider_id>/login/", leaving(openid_connect.login), name="openid_connect_login"),
    path("dev/", include(development_patterns)),
]
if app_settings.LOGIN_BY_CODE_ENABLED:
    urlpatterns += [path("accounts/login/code/", paced(account.request_login_code), name="account_request_login_code")]
