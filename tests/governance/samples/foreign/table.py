"""A server with a table of tools, an executor, and plugins of another kind."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from inspect import signature

from acme.exporting import ExportPlugin


def size(data):
    return {"n": len(data)}


def first(data):
    return {"first": data[:1]}


TOOLS = {"size": {"handler": size, "description": "Size"}, "first": first}


class CsvExport(ExportPlugin):
    def export(self, rows):
        return ",".join(rows)


def call(name, data):
    return TOOLS[name]["handler"](data)


def in_threads(plugin, payloads):
    signature(plugin.run)
    with ThreadPoolExecutor() as pool:
        return list(pool.map(plugin.run, payloads))


async def soon(plugin, payload):
    first = await asyncio.to_thread(plugin.analyze, payload["image"])
    second = await asyncio.get_running_loop().run_in_executor(None, getattr(plugin, "run"), payload)
    return first, second
