# /// script
# requires-python = ">=3.11"
# dependencies = ["statsmodels", "numpy"]
# [tool.toolrunner]
# name = "statsmodels-line"
# input = "json"
# input_schema = { required = ["slope"], examples = [{ slope = 2 }] }
# limits = { memory_mb = 1024 }
# warm_up = true
# ///
"""A straight line through points with its confidence, with statsmodels."""

import numpy
import statsmodels.api


def run(payload):
    x = numpy.arange(50.0)
    y = payload["slope"] * x + 1 + numpy.cos(x)
    fit = statsmodels.api.OLS(y, statsmodels.api.add_constant(x)).fit()
    return {"slope": round(fit.params[1], 2), "good": bool(fit.rsquared > 0.99)}
