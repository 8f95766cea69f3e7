"""A stateful Stripe on loopback: what LumyxAI asks of Stripe, without the network.

It serves customers, products, prices, Checkout in payment mode, payment intents, payment methods, charges, refunds, disputes,
balance transactions and events. Subscriptions, invoices and the portal are not served: 404.
"""
