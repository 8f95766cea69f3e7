"""FakeStripe: the HTTP server, its idempotency, its control calls and the same as methods."""

import copy
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rig.stripe import site, storage
from rig.stripe.clockwork import run_due
from rig.stripe.controls import Controls
from rig.stripe.forms import expand, parse_form
from rig.stripe.routes import call
from rig.stripe.state import Record, State, StripeError


class FakeStripe(Controls):
    """A Stripe on 127.0.0.1, served by a thread between enter and exit; its methods are the control calls."""

    def __init__(
        self, *, port: int = 0, key: str = "sk_test_fake", tax_percent: int = 0, file: Path | None = None
    ) -> None:
        self.key, self.file = key, file
        self.tax_percent = tax_percent
        self.lock = threading.RLock()
        handler = type("Handler", (_Handler,), {"fake": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", port), handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.state = State(base_url=self.url, tax_percent=tax_percent)
        if file is not None:
            storage.load(self.state, file)
        self._saved: tuple[object, ...] | None = None

    def __enter__(self) -> Self:
        """Serve in a thread."""
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Stop serving and free the port."""
        self.server.shutdown()
        self.server.server_close()

    def show(self, method: str, path: str, form: Record) -> site.Page | None:
        """Return the page at `path` as a browser asks for it, None when no page is there."""
        if path.startswith(("/v1/", "/_control/")):
            return None
        with self.lock:
            run_due(self.state)
            page = site.serve(self.state, method, path, form)
            self.save()
            return page

    def tick(self) -> None:
        """Do what is due by now; the API and the pages do so before each answer."""
        with self.lock:
            run_due(self.state)
            self.save()

    def save(self, *, always: bool = False) -> None:
        """Write the state to its file, if it has one and something happened since."""
        with self.lock:
            seen = (self.state.last_number, self.state.shift_s, self.state.frozen_at, len(self.state.replies))
            if self.file is not None and (always or seen != self._saved):
                storage.save(self.state, self.file)
                self._saved = seen

    def answer(self, method: str, path: str, form: str, headers: Any) -> tuple[int, Record, dict[str, str]]:
        """Return status, body and headers for an API request; the same key and parameters give the same answer."""
        with self.lock:
            request_id = self.state.make_id("req")
            extra = {"Request-Id": request_id}
            try:
                if headers.get("authorization") != f"Bearer {self.key}":
                    raise StripeError("Invalid API Key provided.", status=401)
                if self.state.failures:
                    self._fail(self.state.failures.pop(0))
                run_due(self.state)
                key = headers.get("idempotency-key") if method == "POST" else None
                extra |= {"Idempotency-Key": key} if key else {}
                self.state.request = {"id": request_id, "idempotency_key": key}
                asked = f"{method} {path} {json.dumps(parse_form(form), sort_keys=True)}"
                if key in self.state.replies:
                    first, status, body = self.state.replies[key]
                    if first != asked:
                        text = "Keys for idempotent requests can only be used with the same parameters."
                        raise StripeError(text, kind="idempotency_error")
                    return status, body, extra | {"Idempotent-Replayed": "true"}
                status, body = self._run(method, path, form)
                if key and (status == 200 or status == 402):
                    self.state.replies[key] = (asked, status, body)
            except StripeError as error:
                status, body = error.status, error.body
            finally:
                self.state.request = {"id": None, "idempotency_key": None}
                self.save()
            return status, body, extra

    def _run(self, method: str, path: str, form: str) -> tuple[int, Record]:
        try:
            answer, paths = call(self.state, method, path, parse_form(form))
            return 200, expand(self.state, answer, paths)
        except StripeError as error:
            return error.status, copy.deepcopy(error.body)

    @staticmethod
    def _fail(kind: str) -> None:
        if kind == "drop":
            raise ConnectionAbortedError
        if kind == "429":
            raise StripeError("Too many requests.", status=429, code="rate_limit")
        raise StripeError("An unknown error occurred.", status=500, kind="api_error")


class _Handler(BaseHTTPRequestHandler):
    fake: FakeStripe
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: Any) -> None:
        """Stay silent: tests read the answers."""

    def _handle(self) -> None:
        path, _, query = self.path.partition("?")
        body = self.rfile.read(int(self.headers.get("content-length") or 0)).decode()
        form = "&".join(part for part in (query, body) if part)
        try:
            page = self.fake.show(self.command, path, parse_form(body))
            if page is not None:
                self._write(page.status, page.body, page.headers)
            elif path.startswith("/_control/"):
                self._send(200, {"data": self.fake.control(path.removeprefix("/_control/"), parse_form(form))}, {})
                self.fake.save(always=True)
            else:
                self._send(*self.fake.answer(self.command, path, form, self.headers))
        except ConnectionAbortedError:
            self.close_connection = True
        except StripeError as error:
            self._send(error.status, error.body, {})

    do_GET = do_POST = do_DELETE = _handle  # noqa: N815 - the names are the base class's

    def _send(self, status: int, body: Record, headers: dict[str, str]) -> None:
        self._write(status, json.dumps(body).encode(), {"Content-Type": "application/json", **headers})

    def _write(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        if "stripe-version" in self.headers:
            self.send_header("Stripe-Version", self.headers["stripe-version"])
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
