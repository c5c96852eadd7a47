"""The environment of every box: what a program needs, and what keeps libraries from helpers.

A library that starts threads at its import cannot be forked, and what it starts counts against the
call. Each variable has its reason; a cell's own ``HOME`` and ``TMPDIR`` come on top of these.
"""

from types import MappingProxyType

_NEEDED = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "HOME": "/",
}
# Variable: its value, and what it keeps from happening.
QUIET = MappingProxyType(
    {
        "OPENBLAS_NUM_THREADS": ("1", "NumPy and SciPy: OpenBLAS starts a thread a processor"),
        "OMP_NUM_THREADS": ("1", "OpenMP: a thread a processor at the first parallel region"),
        "MKL_NUM_THREADS": ("1", "Intel's MKL: the same"),
        "NUMEXPR_NUM_THREADS": ("1", "numexpr: a pool at import"),
        "VECLIB_MAXIMUM_THREADS": ("1", "Apple's Accelerate: a thread a processor"),
    }
)
ENVIRONMENT = MappingProxyType({**_NEEDED, **{name: value for name, (value, _) in QUIET.items()}})
