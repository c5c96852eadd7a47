# /// script
# [tool.toolrunner]
# name = "tools"
# input = "json"
# [tool.toolrunner.tools.by-function]
# [tool.toolrunner.tools.other]
# ///
"""Tools that are served by a function of their name, and by run."""


def by_function(payload):
    return {"by": "by_function"}


def run(payload, context):
    return {"by": "run", "tool": context.tool}
