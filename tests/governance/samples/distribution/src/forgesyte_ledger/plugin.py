"""The plugin of a distribution with a src folder: relative and absolute imports, a pydantic result."""

from typing import Any

from forgesyte_ledger import CURRENCY
from forgesyte.server.plugin_loader import BasePlugin

from .schemas import Total


class Plugin(BasePlugin):
    name = "ledger"

    def __init__(self) -> None:
        super().__init__()
        self.tools = {"total": {"handler": "total", "description": "Adds up"}}

    def run_tool(self, tool_name: str, args: dict[str, Any]) -> Any:
        if tool_name not in self.tools:
            raise ValueError(f"Unknown tool: {tool_name}")
        return getattr(self, tool_name)(**args)

    def total(self, amounts: list[float]) -> Total:
        return Total(total=sum(amounts), currency=CURRENCY)
