# /// script
# [tool.toolrunner]
# name = "tools"
# input = "json"
# [tool.toolrunner.tools.by-function]
# [tool.toolrunner.tools.other]
# ///
def by_function(payload):
    return {"by": "by_function"}


def run(payload, context):
    return {"by": "run", "tool": context.tool}
