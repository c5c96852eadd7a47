# /// script
# [tool.toolrunner]
# name = "tools-of-a-class"
# input = "json"
# [tool.toolrunner.tools.one]
# ///
"""A tool that a class serves."""


class Plugin:
    def run_tool(self, tool, args):
        return {"tool": tool}
