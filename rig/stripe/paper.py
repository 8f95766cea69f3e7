"""How the stand-in's pages look, and an invoice as a PDF."""

from html import escape

from rig.stripe.cards import ALWAYS_AUTHENTICATES, ASKS, CARDS, PAYS
from rig.stripe.periods import write_day
from rig.stripe.state import Record

STYLE = """
*{box-sizing:border-box}body{margin:0;background:#f4f5f7;color:#1a1f2b;font:1rem/1.5 system-ui,sans-serif}
main{max-width:44rem;margin:0 auto;padding:1.5rem 1rem 3rem}h1{font-size:1.6rem;margin:.5rem 0 1rem}
h2{font-size:1.1rem;margin:0 0 .75rem}.bar{background:#3b2f8f;color:#fff;padding:.6rem 1rem;text-align:center}
section{background:#fff;border:1px solid #dfe2e8;border-radius:.6rem;padding:1rem;margin:0 0 1rem}
label{display:block;margin:0 0 .75rem}input{display:block;width:100%;margin-top:.25rem;padding:.6rem;font:inherit;
border:1px solid #8a91a0;border-radius:.4rem}button{font:inherit;font-weight:600;padding:.6rem 1rem;border:0;
border-radius:.4rem;background:#3b2f8f;color:#fff;cursor:pointer}button.quiet{background:#e7e8ee;color:#1a1f2b}
button:focus-visible,input:focus-visible,a:focus-visible{outline:3px solid #f0a500;outline-offset:2px}
a{color:#3b2f8f}.row{display:flex;flex-wrap:wrap;gap:.25rem 1rem;justify-content:space-between;padding:.5rem 0;
border-top:1px solid #ebedf1}.row:first-of-type{border-top:0}.row span:last-child{font-variant-numeric:tabular-nums}
.muted{color:#5a6272;margin:0}.alert{background:#fdecec;border:1px solid #d9534f;color:#7d1f1c;border-radius:.4rem;
padding:.6rem .8rem}code{font-size:.95em}form{margin:0}.row+form,details{margin-top:.75rem}
summary{cursor:pointer}.status{margin:0 0 .5rem}.muted+form{margin-top:.75rem}
"""


def draw(title: str, body: str, *, error: str = "", back: str | None = None) -> str:
    """Return a whole page; `back` is where its link leads."""
    alert = f'<p class="alert" role="alert">{escape(error)}</p>' if error else ""
    link = f'<p><a href="{escape(back)}">← Back</a></p>' if back else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width"><title>{escape(title)}</title><style>{STYLE}</style></head>'
        '<body><div class="bar">Test payments. No money moves.</div>'
        f"<main>{link}<h1>{escape(title)}</h1>{alert}{body}</main></body></html>"
    )


def write_money(cents: int, currency: str) -> str:
    """Return an amount for people: -$1.50, or 1.50 EUR."""
    sign, number = "−" if cents < 0 else "", f"{abs(cents) / 100:,.2f}"
    return f"{sign}${number}" if currency == "usd" else f"{sign}{number} {currency.upper()}"


def draw_row(left: str, right: str) -> str:
    """Return a row of two texts, which are HTML already."""
    return f'<div class="row"><span>{left}</span><span>{right}</span></div>'


def draw_card_form(verb: str, *, number: str = "", action: str = "", asks: bool = False) -> str:
    """Return the form for a card's number, or for the bank's question when `asks`."""
    hidden = f'<input type="hidden" name="action" value="{escape(action)}">' if action else ""
    if asks:
        return (
            f'<form method="post">{hidden}<input type="hidden" name="number" value="{escape(number)}">'
            '<p>Your bank asks you to confirm this payment.</p><button name="approved" value="true">Approve</button> '
            '<button class="quiet" name="approved" value="false">Fail</button></form>'
        )
    cards = "".join(draw_row(f"<code>{_space(known)}</code>", text) for known, text in CARDS.items())
    return (
        f'<form method="post">{hidden}<label>Card number <input name="number" inputmode="numeric" '
        f'autocomplete="off" value="{_space(PAYS)}"></label><button>{escape(verb)}</button></form>'
        f"<details><summary>Test cards</summary>{cards}</details>"
    )


def _space(number: str) -> str:
    return " ".join(number[at : at + 4] for at in range(0, len(number), 4))


def draw_session(session: Record, name: str, *, number: str = "", error: str = "") -> str:
    """Return the page of an open Checkout session."""
    total = write_money(session["amount_total"], session["currency"])
    tax = session["total_details"]["amount_tax"]
    rows = draw_row(escape(name), write_money(session["amount_subtotal"], session["currency"]))
    rows += draw_row("Tax", write_money(tax, session["currency"])) if tax else ""
    verb = "Subscribe" if session["mode"] == "subscription" else "Pay"
    form = draw_card_form(verb, number=number, asks=number in ASKS and not error)
    body = f"<section>{rows}{draw_row('<strong>Total</strong>', total)}</section><section>{form}</section>"
    if session["cancel_url"]:
        body += f'<p><a href="{escape(session["cancel_url"])}">Cancel</a></p>'
    return draw(f"{verb} {total}" if verb == "Pay" else f"Subscribe: {total}", body, error=error)


def draw_lines(invoice: Record) -> str:
    """Return an invoice's lines and sums as rows."""
    currency = invoice["currency"]
    rows = [
        draw_row(
            f'{escape(line["description"])}<br><small class="muted">{write_day(line["period"]["start"])} to '
            f"{write_day(line['period']['end'])}</small>",
            write_money(line["amount"], currency),
        )
        for line in invoice["lines"]["data"]
    ]
    tax = sum(row["amount"] for row in invoice["total_taxes"])
    used = (invoice["ending_balance"] or 0) - invoice["starting_balance"] if invoice["status"] != "draft" else 0
    for text, amount in (("Tax", tax), ("Total", invoice["total"]), ("From or to your credit", -used)):
        if amount or text == "Total":
            rows.append(draw_row(text, write_money(amount, currency)))
    return "".join(rows) + draw_row("<strong>Amount due</strong>", write_money(invoice["amount_due"], currency))


def draw_invoice(invoice: Record, *, asks: bool, number: str, error: str, back: str | None) -> str:
    """Return the hosted page of an invoice; an open one can be paid, `asks` is the bank's question."""
    state = f'<p class="status">Status: <strong>{escape(invoice["status"])}</strong></p>'
    body = f"<section>{state}{draw_lines(invoice)}</section>"
    if invoice["status"] in ("open", "uncollectible"):
        body += (
            f"<section><h2>Pay</h2>{draw_card_form('Pay', number=number or ALWAYS_AUTHENTICATES, asks=asks)}</section>"
        )
    if invoice["invoice_pdf"]:
        body += f'<p><a href="{escape(invoice["invoice_pdf"])}">Download PDF</a></p>'
    return draw(f"Invoice {invoice['number'] or 'draft'}", body, error=error, back=back)


def write_pdf(invoice: Record) -> bytes:
    """Return an invoice as a PDF of one page."""
    currency = invoice["currency"]
    texts = ["Test payments. No money moves.", "", f"Invoice {invoice['number']}", f"Status: {invoice['status']}", ""]
    texts += [f"{line['description']}: {write_money(line['amount'], currency)}" for line in invoice["lines"]["data"]]
    texts += ["", f"Total: {write_money(invoice['total'], currency)}"]
    texts += [f"Amount due: {write_money(invoice['amount_due'], currency)}"]
    plain = [text.replace("−", "-").encode("cp1252", "replace") for text in texts]
    escaped = [text.replace(b"\\", b"\\\\").replace(b"(", b"\\(").replace(b")", b"\\)") for text in plain]
    content = b"BT /F1 12 Tf 16 TL 60 780 Td " + b" ".join(b"(" + text + b") '" for text in escaped) + b" ET"
    parts = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources "
        b"<< /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n" % len(content) + content + b"\nendstream",
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
    ]
    text, places = b"%PDF-1.4\n", []
    for number, part in enumerate(parts, 1):
        places.append(len(text))
        text += b"%d 0 obj\n" % number + part + b"\nendobj\n"
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    trailer = b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(parts) + 1, len(text))
    return text + b"xref\n0 %d\n0000000000 65535 f \n" % (len(parts) + 1) + table + trailer
