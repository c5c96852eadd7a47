"""A plugin that is a program for Node, without any package."""

MANIFEST = """\
[tool.toolrunner]
name = "my-plugin"
version = "0.1.0"
description = "How often each word of a text stands there"
input = "json"                     # or "image" or "files", which are given by their paths
command = ["node", "main.mjs"]     # started anew by each call; main.mjs is the one beside this file
limits = { wall_seconds = 10, cpu_seconds = 10, memory_mb = 256 }

[tool.toolrunner.input_schema]     # JSON Schema; what does not fit never reaches the program
type = "object"
required = ["text"]
examples = [{ text = "to be or not to be" }]

[tool.toolrunner.input_schema.properties]
text = { type = "string" }
"""

PROGRAM = """\
// Standard input is the payload, standard output the result: one JSON object each.
// Standard error is the log, descriptor 3 progress, and files left in output/ are artifacts.
import { readFileSync, writeFileSync, writeSync } from "node:fs";

const { text } = JSON.parse(readFileSync(0, "utf8"));
const words = text.toLowerCase().match(/\\p{L}+/gu) ?? [];
if (words.length === 0) {
  console.error("there is no word in the text");
  process.exit(65); // the input is at fault: the caller is told so, with the line above
}

const counts = {};
for (const word of words) counts[word] = (counts[word] ?? 0) + 1;
writeSync(3, JSON.stringify({ fraction: 0.5, message: `counted ${words.length} words` }) + "\\n");

const sorted = Object.entries(counts).sort(([, a], [, b]) => b - a);
writeFileSync("output/words.csv", sorted.map(([word, count]) => `${word},${count}\\n`).join(""));
console.error(`Node ${process.version}`);
process.stdout.write(JSON.stringify({ words: words.length, different: sorted.length }));
"""

TEST = '''\
"""Tests of my-plugin, in the real sandbox: pip install pytest, then pytest."""

from pathlib import Path

from toolrunner.pytest_plugin import Governed

PLUGIN = Path(__file__).parent


def test_it_counts(governed: Governed) -> None:
    """The outcome of a call has result, error, usage, log and artifacts."""
    outcome = governed(PLUGIN, {"text": "to be or not to be"})
    assert outcome.unwrap() == {"words": 6, "different": 4}
    assert outcome.artifacts["words.csv"] == b"to,2\\nbe,2\\nor,1\\nnot,1\\n"
    assert "Node v" in outcome.log


def test_it_refuses_a_text_without_words(governed: Governed) -> None:
    """Exit status 65 is the caller's fault, and told as such."""
    outcome = governed(PLUGIN, {"text": "1, 2, 3"})
    assert outcome.error_type == "ValidationError"
'''

FILES = {"toolrunner.toml": MANIFEST, "main.mjs": PROGRAM, "test_my_plugin.py": TEST}
