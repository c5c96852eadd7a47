# /// script
# requires-python = ">=3.11"
# dependencies = ["plotly"]
# [tool.toolrunner]
# name = "plotly-chart"
# input = "json"
# input_schema = { required = ["values"], examples = [{ values = [3, 1, 2] }] }
# warm_up = true
# ///
"""A chart as JSON for a browser, with Plotly."""

import json

import plotly.graph_objects


def run(payload):
    figure = plotly.graph_objects.Figure(plotly.graph_objects.Bar(y=payload["values"]))
    figure.update_layout(title="Values")
    chart = json.loads(figure.to_json())
    return {"kind": chart["data"][0]["type"], "title": chart["layout"]["title"]["text"]}
