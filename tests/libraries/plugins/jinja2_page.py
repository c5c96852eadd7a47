# /// script
# requires-python = ">=3.11"
# dependencies = ["jinja2"]
# [tool.toolrunner]
# name = "jinja2-page"
# input = "json"
# input_schema = { required = ["names"], examples = [{ names = ["Ada", "<Bob>"] }] }
# warm_up = true
# ///
"""A page from a template, with Jinja2."""

import jinja2

PAGE = jinja2.Environment(autoescape=True).from_string(
    "{% for name in names %}<li>{{ name | upper }}</li>{% endfor %}"
)


def run(payload):
    return {"page": PAGE.render(names=payload["names"])}
