"""Payments through Stripe: what people buy, what Stripe tells, and what both do to the books.

Whatever Stripe says is applied by fetching the object again and bringing the books to what it says now, under the customer's
lock (``apply``): events may come twice, late, in any order or not at all.
"""
