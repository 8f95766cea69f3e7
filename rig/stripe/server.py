"""FakeStripe: the HTTP server, its idempotency, its control calls and the same as methods."""

import copy
import json
import re
import threading
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from rig.stripe import checkout, reversals
from rig.stripe.forms import expand, is_true, parse_form
from rig.stripe.routes import call
from rig.stripe.state import Record, State, StripeError

BEHAVIOURS = ("succeed", "decline", "authenticate")


class FakeStripe:
    """A Stripe on 127.0.0.1, served by a thread between enter and exit; its methods are the control calls."""

    def __init__(self, *, port: int = 0, key: str = "sk_test_fake", tax_percent: int = 0) -> None:
        self.key = key
        self.tax_percent = tax_percent
        self.lock = threading.RLock()
        handler = type("Handler", (_Handler,), {"fake": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", port), handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.state = State(base_url=self.url, tax_percent=tax_percent)

    def __enter__(self) -> Self:
        """Serve in a thread."""
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Stop serving and free the port."""
        self.server.shutdown()
        self.server.server_close()

    def reset(self) -> None:
        """Forget everything but who listens to events."""
        with self.lock:
            listeners = self.state.listeners
            self.state = State(base_url=self.url, tax_percent=self.tax_percent, listeners=listeners)

    def set_clock(self, at: int) -> None:
        """Move the clock forward to `at`, Unix seconds, and do what is due. Raises StripeError for a step back."""
        with self.lock:
            if self.state.frozen_at is not None and at < self.state.frozen_at:
                raise StripeError("The clock goes forward only.", param="now")
            self.state.frozen_at = at
            checkout.expire_due(self.state)

    def set_card(self, customer: str, behaviour: str) -> None:
        """Let all saved cards of a customer succeed, decline or authenticate from now on."""
        if behaviour not in BEHAVIOURS:
            raise StripeError(f"behaviour is one of {', '.join(BEHAVIOURS)}.", param="behaviour")
        with self.lock:
            for method in self.state.all("payment_method"):
                if method["customer"] == customer:
                    self.state.behaviours[method["id"]] = behaviour

    def pay(self, session: str, number: str = checkout.PAYS, *, approved: bool | None = None) -> Record:
        """Pay a Checkout session as its customer does. Raises StripeError when the card fails."""
        with self.lock:
            return copy.deepcopy(checkout.pay(self.state, session, number, approved=approved))

    def advance_to(self, at: datetime) -> None:
        """Move the clock forward to an aware time. Raises StripeError for a step back."""
        self.set_clock(int(at.timestamp()))

    def refund(self, payment_intent: str, amount: int | None = None) -> Record:
        """Refund a payment intent, whole without an amount, as from Stripe's dashboard."""
        params: Record = {"payment_intent": payment_intent} | ({} if amount is None else {"amount": amount})
        with self.lock:
            return copy.deepcopy(reversals.create_refund(self.state, [], params))

    def dispute(self, charge: str, amount: int | None = None) -> Record:
        """Dispute a charge, named by its id or by that of its payment intent."""
        with self.lock:
            if charge.startswith("pi_"):
                charge = self.state.find("payment_intent", charge)["latest_charge"] or charge
            return copy.deepcopy(reversals.open_dispute(self.state, charge, amount))

    def close_dispute(self, dispute: str, *, won: bool) -> Record:
        """Close a dispute, won or lost."""
        with self.lock:
            return copy.deepcopy(reversals.close_dispute(self.state, dispute, won=won))

    def fail_refund(self, refund: str) -> Record:
        """Let a refund fail afterwards."""
        with self.lock:
            return copy.deepcopy(reversals.fail_refund(self.state, refund))

    def fail_next(self, *kinds: str) -> None:
        """Let the next API requests fail: "500", "429", or "drop" (the connection closes without an answer)."""
        if not set(kinds) <= {"500", "429", "drop"}:
            raise StripeError("kind is one of 500, 429, drop.", param="kind")
        with self.lock:
            self.state.failures.extend(kinds)

    def events(self) -> list[Record]:
        """Return all events, oldest first."""
        with self.lock:
            return copy.deepcopy(self.state.all("event")[::-1])

    def control(self, name: str, params: Record) -> Any:
        """Run a control call by its name. Raises StripeError for an unknown one or a missing parameter."""
        calls: dict[str, Any] = {
            "clock": lambda: self.set_clock(int(params["now"])),
            "card": lambda: self.set_card(params["customer"], params["behaviour"]),
            "pay": lambda: self.pay(params["session"], params.get("number", checkout.PAYS)),
            "dispute": lambda: self.dispute(params["charge"]),
            "close_dispute": lambda: self.close_dispute(params["dispute"], won=is_true(params["won"])),
            "fail_refund": lambda: self.fail_refund(params["refund"]),
            "fail_next": lambda: self.fail_next(params["kind"]),
            "events": self.events,
            "reset": self.reset,
        }
        if name not in calls:
            raise StripeError(f"No control call {name}; there are {', '.join(calls)}.", status=404)
        try:
            return calls[name]()
        except KeyError as missing:
            raise StripeError(f"Missing required param: {missing.args[0]}.", code="parameter_missing") from missing

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
                checkout.expire_due(self.state)
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
        page = re.fullmatch(r"/c/pay/([^/]+)", path)
        try:
            if page:
                self._serve_page(page[1], parse_form(body))
            elif path.startswith("/_control/"):
                self._send(200, {"data": self.fake.control(path.removeprefix("/_control/"), parse_form(form))}, {})
            else:
                self._send(*self.fake.answer(self.command, path, form, self.headers))
        except ConnectionAbortedError:
            self.close_connection = True
        except StripeError as error:
            self._send(error.status, error.body, {})

    do_GET = do_POST = do_DELETE = _handle  # noqa: N815 - the names are the base class's

    def _serve_page(self, session_id: str, form: Record) -> None:
        with self.fake.lock:
            checkout.expire_due(self.fake.state)
            session = self.fake.state.find("checkout.session", session_id)
            number, error = form.get("number", "").replace(" ", ""), ""
            if self.command == "POST":
                approved = is_true(form["approved"]) if "approved" in form else None
                try:
                    session = checkout.pay(self.fake.state, session_id, number, approved=approved)
                except StripeError as failed:
                    error = str(failed)
            if session["status"] == "complete":
                target = session["success_url"].replace("{CHECKOUT_SESSION_ID}", session_id)
                self._write(303, b"", {"Location": target})
            elif session["status"] == "expired":
                self._write(410, b"<!doctype html><p>This payment page has expired.", {"Content-Type": "text/html"})
            else:
                text = checkout.draw_page(session, number=number, error=error)
                self._write(200, text.encode(), {"Content-Type": "text/html; charset=utf-8"})

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
