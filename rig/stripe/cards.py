"""The test cards: how each answers when it is given, and afterwards."""

from rig.stripe.customers import save_method
from rig.stripe.state import Record, State, StripeError

PAYS, DECLINES, AUTHENTICATES = "4242424242424242", "4000000000000002", "4000002500003155"
DECLINES_LATER, ALWAYS_AUTHENTICATES = "4000000000000341", "4000002760003184"
CARDS = {
    PAYS: "pays",
    DECLINES: "is declined",
    AUTHENTICATES: "asks for confirmation once",
    ALWAYS_AUTHENTICATES: "asks for confirmation at every payment",
    DECLINES_LATER: "can be saved, and is declined at every payment",
}
ASKS = (AUTHENTICATES, ALWAYS_AUTHENTICATES)
FAILS = (DECLINES, DECLINES_LATER)
LATER = {DECLINES: "decline", DECLINES_LATER: "decline", ALWAYS_AUTHENTICATES: "authenticate"}


def check_number(number: str) -> None:
    """Raise StripeError (402) for a number that is no test card's."""
    if number not in CARDS:
        raise StripeError("Your card number is incorrect.", status=402, kind="card_error", code="incorrect_number")


def take(state: State, number: str) -> Record:
    """Store a card that nobody owns yet. Raises StripeError."""
    check_number(number)
    return save_method(state, customer=None, number=number, behaviour=LATER.get(number, "succeed"))
