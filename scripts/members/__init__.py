"""What ``scripts/cluster`` and ``scripts/soak.py --cluster`` are made of: a cluster on one machine.

    program.py     one program from its start to its end; what it says goes into its log
    postgres.py    PostgreSQL from Debian's package, an ordinary user's, without a port
    bucket.py      a server that speaks S3: moto's
    toolrunners.py servers and workers of toolrunner, each with a state folder of its own
    whole.py       all of them together, in the order in which they start and end
    command.py     the command line of ``scripts/cluster``
    held.py        which folder is in use, and by whom: how ``stop`` finds whom to tell

Nothing is ended that was not started here. The standard library alone, so that what is missing can
be told by whichever Python starts it.
"""
