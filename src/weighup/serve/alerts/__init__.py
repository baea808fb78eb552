"""Who is told when a verdict changes: which changes count (`policy`), and how word of them leaves (`courier`).

Receivers of webhooks need only `webhook.verify_signature`, which loads nothing but the standard library.
"""
