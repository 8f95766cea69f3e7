"""A stateful Stripe on loopback: what LumyxAI asks of Stripe, without the network.

It serves customers, products, prices, Checkout in payment and subscription mode, payment intents, payment methods, charges,
refunds, disputes, subscriptions of one item, their schedules, invoices and renewals, the customer portal, balance transactions and
events. Its pages work in a browser. What else Stripe has is not served: 404, or a refusal that says so.
"""
