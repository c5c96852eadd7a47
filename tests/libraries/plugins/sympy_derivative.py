# /// script
# requires-python = ">=3.11"
# dependencies = ["sympy"]
# [tool.toolrunner]
# name = "sympy-derivative"
# input = "json"
# input_schema = { required = ["term"], examples = [{ term = "x**2 * sin(x)" }] }
# warm_up = true
# ///
"""A derivative and an equation solved, with SymPy."""

import sympy

X = sympy.Symbol("x")


def run(payload):
    term = sympy.sympify(payload["term"])
    return {"derivative": str(sympy.diff(term, X)), "roots": str(sympy.solve(X**2 - 5 * X + 6))}
