"""A plugin that returns its errors, and uses what its host puts into each module."""

import json


class DividePlugin:
    name = "divide"

    def run(self, payload):
        if "by" not in payload:
            return {"error": "by is missing", "code": 400}
        try:
            return {"error": None, "quotient": payload["of"] / payload["by"]}
        except ZeroDivisionError as exception:
            result = {"quotient": None}
            result["error"] = str(exception)
            return result
        except TypeError:
            host_logger.exception("not numbers")
            return dict(success=False, quotient=None)

    def fit(self, payload):
        return {"error": json.dumps(payload)}  # by hand: the fit's own residuals
