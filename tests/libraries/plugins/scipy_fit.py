# /// script
# requires-python = ">=3.11"
# dependencies = ["scipy", "numpy"]
# [tool.toolrunner]
# name = "scipy-fit"
# input = "json"
# input_schema = { required = ["slope"], examples = [{ slope = 2.5 }] }
# limits = { memory_mb = 768 }
# warm_up = true
# ///
"""A curve fitted and a signal filtered, with SciPy."""

import numpy
import scipy.optimize
import scipy.signal

TIMES = numpy.linspace(0, 1, 200)


def run(payload):
    values = payload["slope"] * TIMES + numpy.sin(60 * TIMES) * 0.01
    smooth = scipy.signal.sosfiltfilt(scipy.signal.butter(4, 0.1, output="sos"), values)
    (slope, _), _ = scipy.optimize.curve_fit(lambda x, a, b: a * x + b, TIMES, smooth)
    return {"slope": round(float(slope), 1)}
