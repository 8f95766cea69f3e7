"""The control calls: time, cards, customers, banks and failures, as methods and by name."""

import copy
import threading
from datetime import datetime
from typing import Any

from rig.stripe import cards, checkout, collection, portal, reversals, site
from rig.stripe.clockwork import run_due
from rig.stripe.forms import is_true
from rig.stripe.state import Record, State, StripeError

BEHAVIOURS = ("succeed", "decline", "authenticate")


class Controls:
    """What a test or a developer does to the fake from outside the API."""

    lock: threading.RLock
    state: State
    url: str
    tax_percent: int

    def reset(self) -> None:
        """Forget everything but who listens to events; no id is given twice."""
        with self.lock:
            listeners, last = self.state.listeners, self.state.last_number
            self.state = State(self.url, tax_percent=self.tax_percent, listeners=listeners, last_number=last)

    def set_clock(self, at: int) -> None:
        """Move the clock forward to `at`, Unix seconds, and do what is due. Raises StripeError for a step back."""
        with self.lock:
            if self.state.frozen_at is not None and at < self.state.frozen_at:
                raise StripeError("The clock goes forward only.", param="now")
            run_due(self.state, at)
            self.state.frozen_at = at

    def set_card(self, customer: str, behaviour: str) -> None:
        """Let all saved cards of a customer succeed, decline or authenticate from now on."""
        if behaviour not in BEHAVIOURS:
            raise StripeError(f"behaviour is one of {', '.join(BEHAVIOURS)}.", param="behaviour")
        with self.lock:
            for method in self.state.all("payment_method"):
                if method["customer"] == customer:
                    self.state.behaviours[method["id"]] = behaviour

    def pay(self, session: str, number: str = cards.PAYS, *, approved: bool | None = None) -> Record:
        """Pay a Checkout session as its customer does. Raises StripeError when the card fails."""
        with self.lock:
            return copy.deepcopy(checkout.pay(self.state, session, number, approved=approved))

    def advance_to(self, at: datetime) -> None:
        """Move the clock forward to an aware time. Raises StripeError for a step back."""
        self.set_clock(int(at.timestamp()))

    def advance(self, seconds: int) -> None:
        """Move the clock forward by seconds, do what is due, and let it run on if it ran."""
        with self.lock:
            if self.state.frozen_at is not None:
                self.set_clock(self.state.frozen_at + seconds)
            else:
                run_due(self.state, self.state.now() + seconds)
                self.state.shift_s += seconds

    def subscribe_at(self, session: str, number: str = cards.PAYS, *, approved: bool | None = None) -> Record:
        """Pay a Checkout session in subscription mode and return the subscription. Raises StripeError."""
        with self.lock:
            paid = self.pay(session, number, approved=approved)
            return copy.deepcopy(self.state.find("subscription", paid["subscription"] or "", "session"))

    def pay_invoice(self, invoice: str, number: str = cards.PAYS, *, approved: bool | None = None) -> Record:
        """Pay an open invoice on its page with a new card. Raises StripeError when the card fails."""
        with self.lock:
            record = self.state.find("invoice", invoice)
            site.pay_invoice(self.state, record, number, approved=approved)
            return copy.deepcopy(record)

    def authenticate(self, invoice: str, *, approved: bool = True) -> Record:
        """Answer the bank's question about an invoice. Raises StripeError when it is refused or nothing is asked."""
        with self.lock:
            record = self.state.find("invoice", invoice)
            return copy.deepcopy(collection.authenticate(self.state, record, approved=approved))

    def change_card(self, customer: str, number: str = cards.PAYS) -> Record:
        """Save a card in the portal: the customer's default, and that of its subscriptions. Raises StripeError."""
        with self.lock:
            return copy.deepcopy(portal.change_card(self.state, customer, number))

    def set_after_retries(self, outcome: str) -> None:
        """Let a subscription whose last retry failed be "cancel"ed (the default) or left "unpaid"."""
        if outcome not in ("cancel", "unpaid"):
            raise StripeError("outcome is one of cancel, unpaid.", param="outcome")
        self.state.after_retries = outcome

    def void_invoice(self, invoice: str) -> Record:
        """Void an invoice, as from Stripe's dashboard."""
        with self.lock:
            return copy.deepcopy(collection.void(self.state, [invoice], {}))

    def mark_uncollectible(self, invoice: str) -> Record:
        """Write an invoice off, as from Stripe's dashboard."""
        with self.lock:
            return copy.deepcopy(collection.mark_uncollectible(self.state, [invoice], {}))

    def refund(self, payment_intent: str, amount: int | None = None, *, pending: bool = False) -> Record:
        """Refund a payment intent, whole without an amount, as from Stripe's dashboard; a pending one waits."""
        params: Record = {"payment_intent": payment_intent} | ({} if amount is None else {"amount": amount})
        with self.lock:
            status = "pending" if pending else "succeeded"
            return copy.deepcopy(reversals.create_refund(self.state, [], params, status=status))

    def finish_refund(self, refund: str) -> Record:
        """Let a pending refund succeed."""
        with self.lock:
            return copy.deepcopy(reversals.finish_refund(self.state, refund))

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
            "advance": lambda: self.advance(int(params.get("seconds", 0)) + 86400 * int(params.get("days", 0))),
            "after_retries": lambda: self.set_after_retries(params["outcome"]),
            "authenticate": lambda: self.authenticate(params["invoice"], approved=is_true(params["approved"])),
            "change_card": lambda: self.change_card(params["customer"], params["number"]),
            "finish_refund": lambda: self.finish_refund(params["refund"]),
            "mark_uncollectible": lambda: self.mark_uncollectible(params["invoice"]),
            "pay_invoice": lambda: self.pay_invoice(params["invoice"], params.get("number", cards.PAYS)),
            "void_invoice": lambda: self.void_invoice(params["invoice"]),
            "card": lambda: self.set_card(params["customer"], params["behaviour"]),
            "pay": lambda: self.pay(params["session"], params.get("number", cards.PAYS)),
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
