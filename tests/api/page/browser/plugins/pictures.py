# /// script
# requires-python = ">=3.11"
# dependencies = ["pillow>=11.0"]
# [tool.toolrunner]
# name = "pictures"
# version = "1.0.0"
# description = "A picture of one colour, in steps that can be followed"
# input = "json"
#
# [tool.toolrunner.input_schema]
# type = "object"
# properties = { colour = { type = "string" }, steps = { type = "integer" } }
# examples = [{ colour = "teal", steps = 3 }]
# ///
"""Make a picture, for a test of jobs that are followed."""


def run(payload, context):
    from PIL import Image

    steps = payload.get("steps", 3)
    for step in range(steps):
        context.progress((step + 1) / (steps + 1), f"step {step + 1} of {steps}")
    picture = Image.new("RGB", (160, 90), payload.get("colour", "teal"))
    return {"colour": payload.get("colour", "teal"), "picture": picture}
