# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.toolrunner]
# name = "hostile"
# version = "1.0.0<script>alert('version')</script>"
# description = "<img src=x onerror=\"alert('description')\"></script><script>alert('description')</script>"
# input = "json"
# ///
"""Say, return and make what would run in a browser that took it for more than text."""

import sys

SCRIPT = "</pre></script><script>alert('{0}')</script><img src=x onerror=\"alert('{0}')\"><svg onload=\"alert('{0}')\">"
SVG = """<svg xmlns="http://www.w3.org/2000/svg" width="90" height="90" onload="alert('svg')">
<script>alert('svg')</script><rect width="90" height="90" fill="red"/>
<image href="http://127.0.0.1:9/svg"/></svg>"""


def run(payload, context):
    print(SCRIPT.format("stdout"))
    print(SCRIPT.format("stderr"), file=sys.stderr)
    context.progress(0.5, SCRIPT.format("progress"))
    if payload.get("fail"):
        raise ValueError(SCRIPT.format("error"))
    context.artifact("picture.svg", SVG.encode(), "image/svg+xml")
    context.artifact("page.html", SCRIPT.format("artifact").encode(), "text/html")
    context.artifact("lies.png", SVG.encode(), "image/png")
    context.artifact("script.js", b"alert('artifact')", "text/javascript")
    return {
        SCRIPT.format("key"): SCRIPT.format("value"),
        "link": "javascript:alert('link')",
        "label": SCRIPT.format("label"),
        "box": [0, 0, 10, 10],
        "__proto__": {"polluted": "yes"},
    }
