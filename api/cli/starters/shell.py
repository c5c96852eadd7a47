"""A plugin that is a shell script."""

MANIFEST = """\
[tool.toolrunner]
name = "my-plugin"
version = "0.1.0"
description = "Lines and bytes of files, and their lines in order as one file"
input = "files"                    # they lie in input/, read-only
command = ["./main.sh"]            # started anew by each call; it has to be executable (chmod a+rx)
limits = { wall_seconds = 30, cpu_seconds = 30, memory_mb = 128 }
"""

PROGRAM = """\
#!/bin/sh
# Standard input is the payload as JSON, with what the caller gave as options (jq reads it).
# Standard output has to be one JSON object and nothing else. Standard error is the log,
# descriptor 3 progress, and files that are left in output/ are artifacts.
set -eu

# A name may hold quotes and backslashes, which JSON writes with one before them.
text() {
    printf '"%s"' "$(printf '%s' "$1" | sed 's/[\\\\"]/\\\\&/g')"
}

total=$(find -L input -type f | wc -l)
number=0
separator=
printf '{"files": ['
for file in input/*; do
    if [ ! -s "$file" ]; then
        echo "${file#input/} is empty" >&2
        exit 65 # the input is at fault: the caller is told so, with the line above
    fi
    number=$((number + 1))
    printf '{"fraction": 0.%02d}\\n' $((99 * number / total)) >&3
    printf '%s{"name": %s, "lines": %d, "bytes": %d}' "$separator" \\
        "$(text "${file#input/}")" "$(wc -l <"$file")" "$(wc -c <"$file")"
    separator=', '
done
printf ']}\\n'
sort input/* >output/sorted.txt
echo "sorted $number files" >&2
"""

TEST = '''\
"""Tests of my-plugin, in the real sandbox: pip install pytest, then pytest."""

from pathlib import Path

from toolrunner.pytest_plugin import Governed

PLUGIN = Path(__file__).parent
SAMPLE = PLUGIN / "sample.txt"


def test_it_counts_and_sorts(governed: Governed) -> None:
    """The outcome of a call has result, error, usage, log and artifacts."""
    more = {"name": 'a "b".txt', "data": b"banana\\n"}
    outcome = governed(PLUGIN, {"files": [SAMPLE, more]})
    assert outcome.unwrap() == {
        "files": [
            {"name": 'a "b".txt', "lines": 1, "bytes": 7},
            {"name": "sample.txt", "lines": 2, "bytes": 13},
        ]
    }
    assert outcome.artifacts["sorted.txt"] == b"apple\\nbanana\\ncherry\\n"
    assert "sorted 2 files" in outcome.log


def test_it_refuses_an_empty_file(governed: Governed) -> None:
    """Exit status 65 is the caller's fault, and told as such."""
    outcome = governed(PLUGIN, {"files": [{"name": "a.txt", "data": b""}]})
    assert outcome.error_type == "ValidationError"
'''

FILES = {
    "toolrunner.toml": MANIFEST,
    "main.sh": PROGRAM,
    "test_my_plugin.py": TEST,
    "sample.txt": "cherry\napple\n",
}
