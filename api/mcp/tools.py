"""One tool as a host is told of it, made of a plugin's manifest."""

from __future__ import annotations

from mcp import types

from toolrunner.api.mcp.schemas import input_schema, output_schema
from toolrunner.plugins.manifest import Manifest


def tool_of(name: str, manifest: Manifest, *, with_paths: bool) -> types.Tool:
    """Return a tool; ``with_paths``: arguments may name files by their paths."""
    schema = input_schema(manifest, with_paths=with_paths)
    # Many hosts show a model no more of a schema than its properties.
    about = str(schema.pop("description", ""))
    return types.Tool(
        name=name,
        title=manifest.name,
        description="\n\n".join(filter(None, (manifest.description, about, _bounds(manifest)))),
        input_schema=schema,
        output_schema=output_schema(manifest),
        annotations=types.ToolAnnotations(
            # A plugin's process is gone after its call, and nothing that it could change is shared.
            read_only_hint=not manifest.network,
            destructive_hint=None if manifest.network else False,
            # Who has the network can reach whatever can be reached by it.
            open_world_hint=manifest.network,
        ),
    )


def _bounds(manifest: Manifest) -> str:
    limits = manifest.limits
    network = "the network" if manifest.network else "no network"
    seconds = f"{limits.wall_seconds:g} s, of which {limits.cpu_seconds:g} s of processor time"
    return f"A call has {seconds}; {limits.memory_mb:,} MiB of memory; {network}."
