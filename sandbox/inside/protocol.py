"""The constants both sides of a box agree on. The only module here that the parent imports.

Control channel (parent and warden, one JSON object a line, trusted both ways; SEQPACKET, or a
stream where there is no such thing):

    parent -> launcher   the profile: namespaces, layers, folders, limits of the box
    launcher -> parent   {"event": "warden", "pid": host pid}
    warden -> parent     {"event": "ready"} | {"event": "failed", operation, errno, message}
    parent -> warden     {"op": "load", "cell": 0, "slot": 0, "enters": false} + 4 descriptors
    parent -> warden     {"op": "inspect", "threads": whether these matter}
    warden -> parent     {"event": "inspected", "reasons": [...]}
    parent -> warden     {"op": "cell", "cell": n, "slot": s, "enters": whether it has cgroups of
                         its own} + 4 descriptors, + those of its slot's cgroups, the first time
    parent -> warden     {"op": "where", "cell": n}: it writes its stack to its errors
    parent -> warden     {"op": "kill", "cell": n}
    parent -> warden     {"op": "renew", "cell": n, "aside": what a load uses may stay mounted
                         elsewhere}: a new scratch, for a resident's next call

The four descriptors are a cell's channel, output and log, and its status: a SEQPACKET (or stream)
of its own, which only the warden gets, so that calls need not share a reader. What is on it is
trusted, and its end means that the box is gone:

    warden -> parent     {"event": "placed", "pid": the cell's number inside the box}
    warden -> parent     {"event": "used", "cpu_ms": c}    what has ended of it so far
    warden -> parent     {"event": "renewed", "error": ""}    or why its scratch is the old one
    warden -> parent     {"event": "exit", "status": s, "cpu_ms": c, "maxrss_kib": m, "by_itself":
                         whether a SIGKILL may have been the plugin's own}
    warden -> parent     {"event": "failed", operation, errno, message}: there will be no cell

Zygote to warden: LISTENER, with a descriptor, if its filter asks before signals; READY or a
"failed" event, once, before any plugin code; after that untrusted lines "forked CELL PID" and
"failed CELL ERRNO" (``FORKED``, ``UNMADE``).

Call channel (parent and cell, a stream socketpair, one a call). A frame is one byte of kind, four
bytes of length (big-endian) and that many bytes. LOAD, REQUEST and ARTIFACT hold four bytes of
length, a JSON head of that length, and raw bytes to the end. What the cell sends is untrusted.

    parent -> cell   LOAD      once the warden has placed the cell
    cell -> parent   CONFINED | FAILED    the last of what is ours: plugin code runs from here on
    cell -> parent   SOURCES?  what had no compiled file; CACHES?, where LOAD says that they are
                          wanted: what the import has written into its caches, for the next one
    cell -> parent   LOADED | RAISED
                          a cell of a warm box begins here: CONFINED comes by itself, and no LOAD
    parent -> cell   TURN + 3 descriptors, to a resident, again and again: a call channel for
                          one call, its output and its log. REQUEST and what follows go there
    parent -> cell   REQUEST; in a batch, as many as the head of the first one says
    cell -> parent   PROGRESS and ARTIFACT, any number, then one of RETURNED | UNSERIALIZABLE |
                          RAISED, and nothing more; in a batch, one for each REQUEST, in their
                          order, each after its own artifacts. What comes with a RETURNED counts
    cell                  after its last frame, shuts its direction; ends when the parent does too
"""

import struct

# Has a cell write where its plugin is to its errors, as faulthandler does, for its author to know
# what has taken the time: the last of the signals that nothing else has a use for.
WHERE_SIGNAL = 64
LISTENER = b'{"event": "listener"}'
READY = b'{"event": "ready"}'
FORKED = "forked"
UNMADE = "failed"
UNPRIVILEGED = "become an unprivileged user"  # the operation of a "failed" event for want of it

LOAD = b"L"
TURN = b"T"
REQUEST = b"Q"
CONFINED = b"c"
FAILED = b"F"
CACHES = b"K"
SOURCES = b"S"
LOADED = b"l"
PROGRESS = b"P"
ARTIFACT = b"A"
RETURNED = b"R"
UNSERIALIZABLE = b"U"
RAISED = b"X"

HEADER = struct.Struct(">cI")
HEAD_LENGTH = struct.Struct(">I")
MOST_ANNOUNCED = (1 << 32) - 1

# Caps on what a cell may send in one frame, in bytes. A reply's own cap is the call's output limit.
PROGRESS_CAP = 4096
PROGRESS_BYTES_CAP = 4 * 1024 * 1024  # of all reports of a call; a cell keeps itself to it
SIGN_CAP = 64  # CONFINED, LOADED
# A RAISED or UNSERIALIZABLE: a message and a traceback, six bytes for each at worst as JSON.
REPORT_CAP = 512 * 1024
# An ARTIFACT's head: a name and a MIME type. Its raw bytes are bounded by the call's limit.
ARTIFACT_HEAD_CAP = 1024
MOST_ARTIFACTS = 64  # of one reply

# What an import has written into its caches; each load of the plugin brings it along.
CACHES_CAP = 16 * 1024 * 1024

SOURCES_CAP = 512 * 1024  # a list of paths

MESSAGE_CAP = 4096
TRACEBACK_CAP = 64 * 1024
LOG_LINE_CAP = 4096  # PIPE_BUF: a longer line could mix with another

CONTROL_MESSAGE_CAP = 128 * 1024
CELL_DESCRIPTORS = 4
TURN_DESCRIPTORS = 3
ORDER_DESCRIPTORS = CELL_DESCRIPTORS + 3  # with the doors of its cgroups
THE_ZYGOTE = 0  # the number by which the zygote is ordered to load, and killed
LOADING_SLOT = 0
INPUTS = "/inputs"  # where a root of the box's own shows the files of calls, by slots
MAX_DEPTH = 100
