"""A program of the runner's, outside of any box: compiles sources that it names. Runs none of them.

python -I -S compiling.py FOLDER    paths of sources on standard input, a line each

A file is finished by one rename. It ends with its input, or with who has started it.
"""

import contextlib
import importlib.util
import os
import py_compile
import sys

_LAST = 19  # nothing waits for it


def main(folder: str) -> None:
    """Compile each source to a file below ``folder``, by the whole path that it would have."""
    os.nice(_LAST)
    os.umask(0o022)  # boxes of other users read it
    parent = os.getppid()
    for line in sys.stdin:
        path = line.rstrip("\n")
        target = folder + importlib.util.cache_from_source(path)
        with contextlib.suppress(OSError, ValueError, py_compile.PyCompileError):
            py_compile.compile(
                path,
                cfile=target,
                doraise=True,
                invalidation_mode=py_compile.PycInvalidationMode.TIMESTAMP,
            )
        if os.getppid() != parent:
            return


main(sys.argv[1])
