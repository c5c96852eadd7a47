"""A folder with manifest.json whose class has a name of its own."""

from app.plugins.base import BasePlugin
from steps.letters import most_common


class Counter(BasePlugin):
    def run_tool(self, tool, args):
        if tool == "letters":
            return {"letters": most_common(args["text"], args.get("most", 10))}
        return {"lines": len(args["text"].splitlines())}
