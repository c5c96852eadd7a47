"""Webhooks: each job that has ended is told to the addresses of the operator's settings.

By the Standard Webhooks specification, version 1.0.0 (https://www.standardwebhooks.com):
``message`` makes what is posted and signs it, ``secret_file`` keeps what it is signed with,
``sender`` posts it once, ``outbox`` keeps what was not taken yet, a ``lane``
for each address posts it until it is, and the ``deliverer`` looks after these.
"""
