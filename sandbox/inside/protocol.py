"""The constants both sides of a box agree on. The only module here that the parent imports.

Control channel (parent and warden, one JSON object a line, trusted both ways; SEQPACKET, or a
stream where there is no such thing):

    parent -> launcher   the profile: namespaces, layers, folders, limits of the box
    launcher -> parent   {"event": "warden", "pid": host pid}
    warden -> parent     {"event": "ready"} | {"event": "failed", operation, errno, message}
    parent -> warden     {"op": "cell", "cell": n, ...} + 3 descriptors (channel, output, log)
    parent -> warden     {"op": "kill", "cell": n}
    warden -> parent     {"event": "placed", "cell": n}
    warden -> parent     {"event": "exit", "cell": n, "status": s, "cpu_ms": c, "maxrss_kib": m}

Call channel (parent and cell, a stream socketpair, one a call). A frame is one byte of kind, four
bytes of length (big-endian) and that many bytes. LOAD and REQUEST hold four bytes of length, a
JSON head of that length, and raw bytes to the end. What the cell sends is untrusted.

    parent -> cell   LOAD      once the warden has placed the cell
    cell -> parent   CONFINED | FAILED    the last of what is ours: plugin code runs from here on
    cell -> parent   LOADED | RAISED
    parent -> cell   REQUEST
    cell -> parent   PROGRESS* then one of RETURNED | UNSERIALIZABLE | RAISED, and nothing more
"""

import struct

LOAD = b"L"
REQUEST = b"Q"
CONFINED = b"c"
FAILED = b"F"
LOADED = b"l"
PROGRESS = b"P"
RETURNED = b"R"
UNSERIALIZABLE = b"U"
RAISED = b"X"

HEADER = struct.Struct(">cI")
HEAD_LENGTH = struct.Struct(">I")

# Caps on what a cell may send in one frame, in bytes. A reply's own cap is the call's output limit.
PROGRESS_CAP = 4096
SIGN_CAP = 64  # CONFINED, LOADED
# A RAISED or UNSERIALIZABLE: a message and a traceback, six bytes for each at worst as JSON.
REPORT_CAP = 512 * 1024

MESSAGE_CAP = 4096
TRACEBACK_CAP = 64 * 1024
LOG_LINE_CAP = 4096  # PIPE_BUF: a longer line could mix with another

CONTROL_MESSAGE_CAP = 128 * 1024
MAX_DEPTH = 100
