"""Jobs in PostgreSQL: one store for the servers of many machines; the extra ``cluster``.

``store`` is the ``JobStore``; ``schema`` makes its tables, ``connections`` holds what is open,
``membership`` says which processes live, ``notices`` what they tell each other, ``queue`` is the
entry in Procrastinate's queue that each pending job has, ``webhooks`` what is posted of them.
Nothing here is imported where the setting ``jobs`` is empty.
"""
