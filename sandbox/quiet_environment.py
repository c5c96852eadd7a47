"""The environment of every box: what a program needs, and what keeps libraries from helpers.

A library that starts threads at its import cannot be forked, and what it starts counts against the
call. Each variable has its reason; a cell's own ``HOME`` and ``TMPDIR`` come on top of these.
"""

from collections.abc import Mapping
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
        "BLIS_NUM_THREADS": ("1", "BLIS, as in some builds of NumPy: the same"),
        "RAYON_NUM_THREADS": ("1", "Rust's rayon, as in tokenizers: a pool at the first use"),
        "NUMBA_NUM_THREADS": ("1", "numba: a pool at the first parallel function"),
        "NUMBA_CACHE_DIR": (
            ".cache/numba",
            "numba: writes for good to where it was imported; this is the call's own scratch",
        ),
        "POLARS_MAX_THREADS": ("1", "polars: a pool at the first query"),
        "OPENCV_FOR_THREADS_NUM": ("1", "OpenCV: a pool at the first large image"),
        "JE_ARROW_MALLOC_CONF": (
            "background_thread:false",
            "pyarrow, and so pandas and scikit-learn: its allocator's thread at import",
        ),
        "MIMALLOC_ARENA_EAGER_COMMIT": (
            "0",
            "mimalloc, as in pyarrow: a gigabyte of data segment at once, of which little is used",
        ),
        "_RJEM_MALLOC_CONF": ("background_thread:false", "polars: the same"),
        "ORT_DISABLE_TELEMETRY": ("1", "onnxruntime: a thread, a shared map and files at import"),
        "TOKENIZERS_PARALLELISM": ("false", "Hugging Face's tokenizers: threads and a warning"),
        "HF_HUB_DISABLE_TELEMETRY": ("1", "Hugging Face's hub: telemetry"),
        "DO_NOT_TRACK": ("1", "telemetry, by a convention that many tools follow"),
    }
)
ENVIRONMENT = MappingProxyType({**_NEEDED, **{name: value for name, (value, _) in QUIET.items()}})


def environment(threads_per_call: int) -> Mapping[str, str]:
    """Return the environment of a box in which numeric libraries may have so many threads each."""
    return {
        name: str(threads_per_call) if "THREADS" in name else value
        for name, value in ENVIRONMENT.items()
    }
