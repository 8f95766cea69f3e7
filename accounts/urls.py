"""The accounts app's own pages. Included before allauth's: a person's addresses replace allauth's page of that name."""

from django.urls import include, path

from accounts.views import AddressesView, development_html, development_mail, development_message

development_patterns = (
    [
        path("mail", development_mail, name="mail"),
        path("mail/<str:name>", development_message, name="message"),
        path("mail/<str:name>/html", development_html, name="message_html"),
    ],
    "dev",
)

urlpatterns = [
    path("accounts/email/", AddressesView.as_view(), name="account_email"),
    path("dev/", include(development_patterns)),
]
