"""What the files of the state folder are built on, whoever keeps them: SQLite, and leases."""
