"""Settings: production refuses to start on a bad value and names them all; development and tests need nothing."""

import base64
import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings

from lumyx.settings.base import database_from_url, mailer_from_url

ROOT = Path(__file__).resolve().parents[2]
KEY = base64.b64encode(b"k" * 32).decode()
GOOD = {
    "SECRET_KEY": "s" * 50,
    "LUMYX_ENCRYPTION_KEY": KEY,
    "LUMYX_API_KEY_PEPPER": KEY,
    "ALLOWED_HOSTS": "lumyx.example",
    "DATABASE_URL": "postgresql://lumyx:hunter2@db/lumyx",
    "REDIS_URL": "redis://cache/0",
    "LUMYX_SITE_URL": "https://lumyx.example",
    "EMAIL_URL": "smtp://user:hunter2@mail.example:587",
}


def load(module: str, variables: dict[str, str], expression: str = "''") -> subprocess.CompletedProcess[str]:
    """Load a settings module in a process of its own and print an expression over it."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    code = f"import importlib; s = importlib.import_module({module!r}); print(({expression}))"
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={**kept, **variables}, capture_output=True, text=True, check=False
    )


def test_production_without_anything_names_every_missing_variable_at_once() -> None:
    done = load("lumyx.settings.prod", {})
    assert done.returncode == 1
    for name in GOOD:
        assert name in done.stderr


def test_production_starts_with_the_documented_variables() -> None:
    done = load("lumyx.settings.prod", GOOD, "s.DEBUG, s.SESSION_COOKIE_SECURE, s.LUMYX_SANDBOX, s.LUMYX_DRAIN_SECONDS")
    assert done.stderr == ""
    assert done.stdout == "(False, True, 'test_keys', 10)\n"


@pytest.mark.parametrize(("variables", "seconds"), [({}, "20.0"), ({"CLIENT_PATIENCE_SECONDS": "90"}, "90.0")])
def test_an_operator_sets_how_long_a_client_may_take(variables: dict[str, str], seconds: str) -> None:
    expression = "s.LUMYX_HEAD_DEADLINE, s.LUMYX_BODY_DEADLINE, s.LUMYX_READ_DEADLINE"
    assert load("lumyx.settings.prod", GOOD | variables, expression).stdout == f"({seconds}, {seconds}, {seconds})\n"


@pytest.mark.parametrize(("variables", "seconds"), [({}, "45"), ({"HOLD_LEASE_SECONDS": "90"}, "90")])
def test_an_operator_sets_how_long_a_hold_outlives_its_request(variables: dict[str, str], seconds: str) -> None:
    assert load("lumyx.settings.prod", GOOD | variables, "s.LUMYX_HOLD_LEASE").stdout == f"{seconds}\n"


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("SECRET_KEY", "short", "at least 32 characters"),
        ("LUMYX_ENCRYPTION_KEY", "bm90IDMyIGJ5dGVz", "32 bytes in base64"),
        ("DATABASE_URL", "sqlite:///hunter2", "postgresql://"),
        ("REDIS_URL", "http://hunter2", "redis://"),
        ("LUMYX_SITE_URL", "lumyx.example", "https://"),
        ("EMAIL_URL", "smtp://", "names no host"),
        ("EMAIL_URL", "smtp://user:hunter2@mail:587?starttls=1", "tls=1"),
        ("TRUSTED_PROXY_COUNT", "many", "whole number"),
        ("DRAIN_SECONDS", "-1", "whole number"),
        ("GRACE_SECONDS", "0", "whole number"),
        ("HOLD_LEASE_SECONDS", "19", "from 20 to"),
        ("CLIENT_PATIENCE_SECONDS", "0", "from 1 to"),
        ("LUMYX_EMAIL_VERIFICATION", "perhaps", "say 1 or 0"),
    ],
)
def test_a_bad_value_stops_production_and_is_not_echoed_where_it_holds_a_secret(
    name: str, value: str, says: str
) -> None:
    done = load("lumyx.settings.prod", {**GOOD, name: value})
    assert done.returncode == 1
    assert name in done.stderr
    assert says in done.stderr
    assert "hunter2" not in done.stderr


def test_production_without_mail_must_switch_verification_off() -> None:
    without = {name: value for name, value in GOOD.items() if name != "EMAIL_URL"}
    refused = load("lumyx.settings.prod", without)
    assert refused.returncode == 1
    assert "LUMYX_EMAIL_VERIFICATION=0" in refused.stderr
    started = load("lumyx.settings.prod", {**without, "LUMYX_EMAIL_VERIFICATION": "0"}, "s.LUMYX_EMAIL_VERIFICATION")
    assert started.stdout == "False\n"


def test_the_proxy_headers_count_only_behind_a_trusted_proxy() -> None:
    expression = "s.SECURE_PROXY_SSL_HEADER, s.ALLAUTH_TRUSTED_PROXY_COUNT"
    assert load("lumyx.settings.prod", GOOD, expression).stdout == "(None, 0)\n"
    behind = load("lumyx.settings.prod", {**GOOD, "TRUSTED_PROXY_COUNT": "1"}, expression)
    assert behind.stdout == "(('HTTP_X_FORWARDED_PROTO', 'https'), 1)\n"


def test_development_makes_its_secrets_once_and_keeps_them_to_itself(tmp_path: Path) -> None:
    where = {"LUMYX_LOCAL_DIR": str(tmp_path)}
    first, second = (load("lumyx.settings.dev", where, "s.SECRET_KEY, s.LUMYX_ENCRYPTION_KEY") for _ in range(2))
    assert first.stderr == ""
    assert first.stdout == second.stdout
    assert (tmp_path / "secrets.json").stat().st_mode & 0o777 == 0o600
    other = load(
        "lumyx.settings.dev", {"LUMYX_LOCAL_DIR": str(tmp_path / "other")}, "s.SECRET_KEY, s.LUMYX_ENCRYPTION_KEY"
    )
    assert other.stdout != first.stdout


def test_development_reads_where_make_run_put_things(tmp_path: Path) -> None:
    run = '{"web": [1], "port": 8123, "DATABASE_URL": "postgresql://lumyx@/lumyx?host=/s", "REDIS_URL": "unix:///s/v.sock"}'
    (tmp_path / "run.json").write_text(run)
    expression = "s.DATABASES['default']['HOST'], s.REDIS_URL, s.CELERY_BROKER_URL, s.LUMYX_SITE_URL"
    done = load("lumyx.settings.dev", {"LUMYX_LOCAL_DIR": str(tmp_path)}, expression)
    assert done.stdout == "('/s', 'unix:///s/v.sock', 'redis+socket:///s/v.sock', 'http://127.0.0.1:8123')\n"


def test_a_database_url_may_hold_a_socket_folder_options_and_escaped_characters() -> None:
    socket = database_from_url("postgresql://lumyx@/lumyx?host=/tmp/a%20b&sslmode=disable")
    assert (socket["HOST"], socket["NAME"], socket["USER"], socket["PORT"]) == ("/tmp/a b", "lumyx", "lumyx", "")  # noqa: S108  not a file of ours
    assert socket["OPTIONS"]["sslmode"] == "disable"
    network = database_from_url("postgresql://me:p%40ss@db:5433/name")
    assert (network["HOST"], network["PORT"], network["PASSWORD"]) == ("db", "5433", "p@ss")


@pytest.mark.parametrize(
    ("url", "port", "starttls", "tls"),
    [
        ("smtp://mail", 25, False, False),
        ("smtp://me:p%40ss@mail", 587, True, False),
        ("smtp://me:p%40ss@mail:2525?tls=0", 2525, False, False),
        ("smtps://me:p%40ss@mail", 465, False, True),
    ],
)
def test_a_mail_url_says_how_to_send(url: str, port: int, starttls: bool, tls: bool) -> None:
    options = mailer_from_url(url)["OPTIONS"]
    assert (options["host"], options["port"], options["use_tls"], options["use_ssl"]) == ("mail", port, starttls, tls)
    assert options["password"] in {"", "p@ss"}


@pytest.mark.parametrize(
    "url", ["imap://mail", "smtp://mail:port", "smtps://mail?tls=1", "smtp://mail?tls=yes", "smtp:///x"]
)
def test_a_mail_url_that_says_nothing_useful_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        mailer_from_url(url)


def test_the_tests_run_on_their_own_services_or_the_given_ones() -> None:
    host = settings.DATABASES["default"]["HOST"]
    if os.environ.get("LUMYX_TEST_SERVICES", "") in str(host):
        assert (Path(host) / ".s.PGSQL.5432").exists()
    assert settings.DATABASES["default"]["NAME"].startswith(("test_", "lumyx"))


@pytest.mark.parametrize("command", [["manage.py", "migrate"], ["-m", "lumyx.serve", "--bind", "127.0.0.1:0"]])
def test_settings_that_cannot_be_used_are_listed_without_a_traceback(command: list[str]) -> None:
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    done = subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env={**kept, "DJANGO_SETTINGS_MODULE": "lumyx.settings.prod"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("The settings cannot be used:\n")
    assert "DATABASE_URL is not set." in done.stderr


def test_a_command_of_django_without_a_database_says_so_in_words(tmp_path: Path) -> None:
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    done = subprocess.run(
        [sys.executable, "manage.py", "migrate"],
        cwd=ROOT,
        env={**kept, "LUMYX_LOCAL_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("The database cannot be used:")
    assert "start-make-run-or-set-DATABASE_URL" in done.stderr


@pytest.mark.parametrize(
    ("variables", "amounts"),
    [({}, ["5", "1"]), ({"LOW_BALANCE_USD": "20, 2.50"}, ["20", "2.50"]), ({"LOW_BALANCE_USD": "none"}, [])],
)
def test_an_operator_sets_when_a_balance_is_low(variables: dict[str, str], amounts: list[str]) -> None:
    assert load("lumyx.settings.prod", GOOD | variables, "s.LUMYX_LOW_BALANCE_USD").stdout == f"{amounts}\n"


@pytest.mark.parametrize("value", ["5,much", "0", "-1", "5,none", "1e-10"])
def test_a_low_balance_that_is_no_amount_stops_the_start(value: str) -> None:
    refused = load("lumyx.settings.prod", GOOD | {"LOW_BALANCE_USD": value})
    assert refused.returncode == 1
    assert "LOW_BALANCE_USD" in refused.stderr
