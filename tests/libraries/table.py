"""What each plugin answers, and how its calls start. Change it here when that changes.

``docs/fast-plugins.md`` has a row for each of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Row:
    """``answer``: to the example in its manifest, or to the photograph that comes with the project.

    ``cold``: words of the reason why its calls cannot be forked, "" for one that is warm; such a
    plugin has to be allowed as a resident to be fast. ``cold_with``: the isolation in which that
    is so, where it is not both. ``fails_without``: words of what happens where there are no
    namespaces, if it cannot run there. ``start``: what its manifest says.
    """

    answer: dict[str, Any]
    cold: str = ""
    cold_with: str = ""
    fails_without: str = ""
    start: str = "auto"

    def reason(self, isolation: str) -> str:
        """Return words of the reason why its calls are cold; "" where they are warm."""
        return self.cold if self.cold_with in {"", isolation} else ""


TABLE = {
    "beautifulsoup_links": Row({"links": {"One": "/a", "two": "/b"}}),
    "cryptography_seal": Row({"text": "a secret", "signature": "95a228e2e2cd7ceb"}),
    "docx_letter": Row({"paragraphs": ["A letter", "Dear Ada"]}),
    "duckdb_each_call": Row({"rows": [[2, 1000, 1_500_500]]}, fails_without="/proc/self/cgroup"),
    "duckdb_kept": Row(
        {"rows": [[2, 1000, 1_500_500]]}, cold="threads", fails_without="/proc/self/cgroup"
    ),
    "h5py_array": Row({"part": [52, 62, 72, 82, 92]}),
    "imageio_frames": Row({"shape": [3, 200, 300, 3]}),
    "jinja2_page": Row({"page": "<li>ADA</li><li>&lt;BOB&gt;</li>"}),
    "lightgbm_model": Row({"over": [False, True]}),
    "lxml_prices": Row({"items": ["tea", "cake"], "total": 8.0}),
    "markdown_page": Row({"html": "<h1>One</h1>\n<ul>\n<li><em>two</em></li>\n</ul>"}),
    "matplotlib_chart": Row({"size": [400, 300]}),
    "networkx_route": Row({"way": ["a", "b", "c", "d"], "most_linked": "c"}),
    "nltk_words": Row({"most": [["run", 2]]}),
    "numba_cached": Row({"closest": 0.5}),
    "numba_compiled": Row({"closest": 0.5}),
    "numba_parallel": Row({"total": 100_000.0}, cold="sem.", cold_with="namespaces"),
    "numba_parallel_warm": Row({"total": 100_000.0}),
    "numpy_photo": Row({"mean": [157, 91, 58], "column": 1099}),
    "onnxruntime_direction": Row({"upright": False, "sum": 1.0}),
    "opencv_edges": Row({"shape": [800, 1200], "many": True}),
    "opencv_pool": Row({"mean": 7.0, "threads": 1}),
    "openpyxl_sheet": Row({"total": 8}),
    "orjson_records": Row({"last": {"id": 999, "name": "n999"}}),
    "pandas_report": Row(
        {
            "regions": {"north": {"sum": 7, "mean": 3.5}, "south": {"sum": 5, "mean": 5.0}},
            "best": "north",
        }
    ),
    "plotly_chart": Row({"kind": "bar", "title": "Values"}),
    "polars_each_call": Row(
        {"regions": [{"region": "north", "sold": 7}, {"region": "south", "sold": 5}]}, start="warm"
    ),
    "polars_query": Row(
        {"regions": [{"region": "north", "sold": 7}, {"region": "south", "sold": 5}]},
        cold="polars",
    ),
    "pyarrow_one_thread": Row({"sums": [249_500, 250_000]}),
    "pyarrow_table": Row({"sum": 499_500}, cold="threads"),
    "pymupdf_plain": Row({"text": "Hello page"}),
    "pymupdf_text": Row({"text": "Hello page", "size": [200, 100]}, cold="threads"),
    "pypdf_pages": Row({"pages": 3, "last": "page 3"}),
    "pyyaml_settings": Row({"settings": {"a": [1, 2], "b": {"c": True}}, "again": True}),
    "rapidfuzz_names": Row({"name": "John Smith", "sure": True}),
    "regex_words": Row({"words": ["naïve", "Größe", "ships"]}),
    "scipy_fit": Row({"slope": 2.5}),
    "seaborn_chart": Row({"svg": 1, "bars": 3}),
    "sentencepiece_tokens": Row({"text": "the cat sat", "some": True}),
    "shapely_areas": Row({"area": 3.14}),
    "skimage_regions": Row({"shape": [400, 600], "large": True}),
    "sklearn_classifier": Row({"kinds": ["setosa", "virginica"]}),
    "sklearn_text": Row({"kind": [True, False]}),
    "spacy_words": Row(
        {"sentences": ["Ada lives in London.", "She writes."], "places": ["London"]}
    ),
    "sqlalchemy_orders": Row({"total": 8}),
    "statsmodels_line": Row({"slope": 2.0, "good": True}, cold="polars"),
    "sympy_derivative": Row({"derivative": "x**2*cos(x) + 2*x*sin(x)", "roots": "[2, 3]"}),
    "tifffile_pages": Row({"pages": [4095, 8191, 12287]}),
    "tokenizers_words": Row({"tokens": [["the", "cat", "sat"], ["the", "?"]]}),
    "xgboost_model": Row({"over": [False, True]}),
    "zstandard_text": Row({"smaller": True, "same": True}),
}
# What variables of a box's environment keep from happening: without them this plugin is not warm,
# and the reason names what the library leaves behind, or how it fails.
KEPT_QUIET = {
    ("JE_ARROW_MALLOC_CONF",): ("pandas_report", "jemalloc_bg_thd"),
    ("MIMALLOC_ARENA_EAGER_COMMIT",): ("seaborn_chart", "exit status 1"),
    ("NUMBA_NUM_THREADS",): ("numba_parallel", "threads (1"),
    ("OMP_NUM_THREADS",): ("xgboost_model", "threads (1"),
    ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"): ("numpy_photo", "threads (1"),
    ("OPENCV_FOR_THREADS_NUM",): ("opencv_pool", "threads (1"),
    ("ORT_DISABLE_TELEMETRY",): ("onnxruntime_direction", "threads (1"),
    ("RAYON_NUM_THREADS", "TOKENIZERS_PARALLELISM"): ("tokenizers_words", "threads (2"),
    ("TOKENIZERS_PARALLELISM",): ("tokenizers_words", "threads (1"),
    ("_RJEM_MALLOC_CONF",): ("polars_query", "jemalloc_bg_thd"),
}
