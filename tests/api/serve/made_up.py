"""A program that sends a server requests made up from its OpenAPI document, valid and invalid.

    python made_up.py ADDRESS EXAMPLES

Schemathesis makes them and checks the answers, with all its checks; what differs from the document
is printed as JSON. In a process of its own: importing it takes long and changes much.
"""

from __future__ import annotations

import json
import sys
from typing import Any, cast

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.core.failures import FailureGroup

# A plugin may refuse what the schema of all plugins allows: that is what 400 is for.
EXPECTED = {("POST /v1/analyze", "Schema-valid request rejected")}
# What the schema of a text says that may be any.
_FREE = {"type", "title", "description"}


def held_against(operation: Any, address: str, examples: int) -> tuple[int, dict[str, str]]:
    """Return how many requests were sent for an operation, and what was wrong with answers."""
    sent = 0
    failures: dict[str, str] = {}

    def check(case: Any) -> None:
        nonlocal sent
        sent += 1
        response = case.call(base_url=address)
        try:
            case.validate_response(response)
        except FailureGroup as group:
            for failure in group.exceptions:
                title = str(getattr(failure, "title", failure))
                if (operation.label, title) not in EXPECTED and not is_unsayable(title, response):
                    failures.setdefault(f"{operation.label}: {title}", str(group))

    for mode in schemathesis.GenerationMode:
        if mode is schemathesis.GenerationMode.NEGATIVE and not can_be_wrong(operation):
            continue
        keep: Any = settings(
            max_examples=examples,
            deadline=None,
            database=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate],
        )
        asked: Any = given(operation.as_strategy(generation_mode=mode))
        run: Any = keep(asked(check))
        run()
    return sent, failures


def is_unsayable(title: str, response: Any) -> bool:
    """Tell whether a request was refused for what no schema can say: that names differ."""
    return title == "Schema-valid request rejected" and "two files with the name" in response.text


def can_be_wrong(operation: Any) -> bool:
    """Tell whether a request can break its schema: any text is a path, or a header of any text."""
    definition = operation.definition.raw
    free = [
        parameter["in"] == "path"
        or (parameter["in"] == "header" and parameter["schema"].keys() <= _FREE)
        for parameter in definition.get("parameters", ())
    ]
    return "requestBody" in definition or not all(free)


def main() -> None:
    """Try every operation."""
    address, examples = sys.argv[1], int(sys.argv[2])
    sent: dict[str, int] = {}
    failures: dict[str, str] = {}
    for found in schemathesis.openapi.from_url(f"{address}/openapi.json").get_all_operations():
        operation = cast("Any", found).ok()
        sent[operation.label], wrong = held_against(operation, address, examples)
        failures |= wrong
    print(json.dumps({"sent": sent, "failures": failures}))


if __name__ == "__main__":
    main()
