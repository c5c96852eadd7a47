"""Jobs: calls that are stored before they are accepted, and survive the server that runs them.

``job`` says what a job is, ``store`` what keeps jobs, ``sqlite_store`` keeps them on disk, what is
large of them in ``blobs``, and ``dispatcher`` runs them. ``JobManagementService`` is how everybody
else gets at them.
"""
