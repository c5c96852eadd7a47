"""One tool as a host is told of it, made of a plugin's manifest."""

from __future__ import annotations

from mcp import types

from toolrunner.api.mcp.schemas import input_schema, output_schema
from toolrunner.plugins.manifest import Manifest


def tool_of(name: str, manifest: Manifest, *, with_paths: bool) -> types.Tool:
    """Return a tool; ``with_paths``: arguments may name files by their paths."""
    return types.Tool(
        name=name,
        title=manifest.name,
        description=manifest.description or None,
        input_schema=input_schema(manifest, with_paths=with_paths),
        output_schema=output_schema(manifest),
        annotations=types.ToolAnnotations(
            # A plugin's process is gone after its call, and nothing that it could change is shared.
            read_only_hint=not manifest.network,
            destructive_hint=None if manifest.network else False,
            # Who has the network can reach whatever can be reached by it.
            open_world_hint=manifest.network,
        ),
    )
