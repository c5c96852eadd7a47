"""Tools that are coroutines behind a run_tool that is none, and a hook that is one."""

import asyncio


class WaitingPlugin:
    name = "waits"

    def __init__(self):
        self.ready = False
        self.tools = {"wait": self.wait, "now": self.now, "size": self.size}

    async def on_load(self):
        await asyncio.sleep(0)
        self.ready = True

    def run_tool(self, tool_name, args):
        return self.tools[tool_name](**args)

    async def wait(self, word: str = "done"):
        await asyncio.sleep(0)
        return {"word": word, "ready": self.ready}

    def now(self):
        return {"ready": self.ready}

    def size(self, data: bytes):
        return {"bytes": len(data), "is_bytes": isinstance(data, bytes)}
