"""Opens a file while it is imported, for its calls to share."""

from hostile import tried

file = open("kept", "w+")  # noqa: SIM115 - kept open is the point


def run(payload):
    def read():
        file.seek(0)
        before = file.read()
        file.write("a call was here")
        file.flush()
        if not before:
            raise LookupError("nobody was here before")
        return before

    return tried(read_what_another_call_wrote=read)
