"""The protocol's own conformance tests, against ``/mcp`` with plugins that do as they ask."""

from __future__ import annotations

from pathlib import Path

from tests.api.http.conftest import MakeSite, kept, make_site
from tests.clients_environment import tool_in
from tests.conftest import WritePlugin

__all__ = ["kept", "make_site"]

SPEC = "2025-11-25"  # the newest that they know, which includes the older ones
# The tools that they call, each by a name of theirs: "test_simple_text" is "test:simple_text" here.
DOES = """
    import base64
    import time

    PNG = base64.b64decode(
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    )

    def run_tool(tool, payload, context):
        if tool == "error_handling":
            raise ValueError("This tool intentionally returns an error for testing")
        if tool in {"image_content", "multiple_content_types"}:
            context.artifact("pixel.png", PNG, "image/png")
        if tool in {"embedded_resource", "multiple_content_types"}:
            context.artifact("a.json", b'{"test": "data"}', "application/json")
        if tool == "tool_with_progress":
            for step in range(1, 101):  # of which it is told at most ten times a second
                context.progress(step / 100, "")
                time.sleep(0.02)
        return {"text": "This is a simple text response for testing."}
"""
TOOLS = (
    "simple_text",
    "image_content",
    "embedded_resource",
    "multiple_content_types",
    "error_handling",
    "tool_with_progress",
)
SCHEMA = (
    "{ '$schema' = 'https://json-schema.org/draft/2020-12/schema', type = 'object',"
    " '$defs' = { address = { type = 'object', properties = { street = { type = 'string' },"
    " city = { type = 'string' } } } }, properties = { name = { type = 'string' },"
    " address = { '$ref' = '#/$defs/address' } }, additionalProperties = false }"
)
# What they ask for and there is not, with why. One that passes fails the test as well.
NO_PROMPTS = "plugins are tools: there is no prompt"
NO_RESOURCES = "plugins are tools: files are in their results, and nothing lies there to be read"
NO_QUESTIONS = "a plugin is a call in a box, which asks neither a model nor a person for anything"
NO_LOG = "what a plugin logs is for the operator alone"
MISSING = {
    "logging-set-level": NO_LOG,
    "tools-call-with-logging": NO_LOG,
    "tools-call-audio": "no model that is widely used takes it: sound is an embedded resource",
    "tools-call-sampling": NO_QUESTIONS,
    "tools-call-elicitation": NO_QUESTIONS,
    "elicitation-sep1034-defaults": NO_QUESTIONS,
    "elicitation-sep1330-enums": NO_QUESTIONS,
    "completion-complete": "it completes the arguments of prompts and resources alone",
    "resources-list": NO_RESOURCES,
    "resources-read-text": NO_RESOURCES,
    "resources-read-binary": NO_RESOURCES,
    "resources-templates-read": NO_RESOURCES,
    "resources-subscribe": NO_RESOURCES,
    "resources-unsubscribe": NO_RESOURCES,
    "server-sse-polling": "a call ends with its stream: there is none to come back to",
    "prompts-list": NO_PROMPTS,
    "prompts-get-simple": NO_PROMPTS,
    "prompts-get-with-args": NO_PROMPTS,
    "prompts-get-embedded-resource": NO_PROMPTS,
    "prompts-get-with-image": NO_PROMPTS,
}


def test_it_conforms(make_site: MakeSite, write_plugin: WritePlugin, tmp_path: Path) -> None:
    """All that they try passes, but for what is listed as missing."""
    tools = ", ".join(f"{name} = {{}}" for name in TOOLS)
    site = make_site(
        write_plugin(DOES, name="test", tools=f"{{ {tools} }}"),
        write_plugin(
            "def schema_2020_12_tool(payload):\n    return {}\n",
            name="json",
            tools=f"{{ schema_2020_12_tool = {{ input_schema = {SCHEMA} }} }}",
        ),
    )
    expected = tmp_path / "expected.yaml"
    lines = [f"  - {name}  # {why}" for name, why in MISSING.items()]
    expected.write_text("\n".join(["server:", *lines, ""]))
    address = f"http://127.0.0.1:{site.address[1]}/mcp"
    told = tool_in(tmp_path)(
        *("conformance", "server", "--url", address, "--suite", "all", "--spec-version", SPEC),
        *("--expected-failures", expected),
    )
    assert told.count("✓") > len(TOOLS)
