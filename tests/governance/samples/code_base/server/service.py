"""A service that calls plugins itself, in several ways; and calls that are none of plugins."""

import subprocess


class Service:
    def __init__(self, registry, plugin):
        self.registry = registry
        self.plugin = plugin

    def all(self, plugins, name, payload):
        first = self.plugin.run(payload)
        second = self.registry.get(name).run_tool("detect", {})
        third = plugins[name].analyze(payload["image"], {})
        subprocess.run(["true"], check=True)
        self.runner.run(name, payload)
        return first, second, third
