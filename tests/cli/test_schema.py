"""`weighup schema`: what is printed is JSON Schema, and verdicts and rows conform to it."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import jsonschema
import pytest

from weighup.verify.contract import UsageView, Verdict


def printed(*arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-c", "from weighup.cli.main import main; main()", "schema", *arguments]
    schema: dict[str, Any] = json.loads(subprocess.run(command, capture_output=True, check=True, timeout=60).stdout)
    jsonschema.Draft202012Validator.check_schema(schema)
    return schema


def test_a_verdict_conforms() -> None:
    schema = printed()
    shown = Verdict(
        claim="A claim.",
        date=None,
        verdict="unknown",
        probability_fake=0.5,
        interval=(0.1, 0.9),
        expert=None,
        why="Because.",
        perspectives={},
        evidence=[],
        usage=UsageView(),
        model_versions={},
    )
    document = json.loads(shown.model_dump_json())
    jsonschema.validate(document, schema)
    promised = {
        "claim",
        "verdict",
        "probability_fake",
        "interval",
        "expert",
        "why",
        "perspectives",
        "evidence",
        "usage",
    }
    assert promised | {"warnings", "model_versions"} <= set(schema["properties"])
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**document, "verdict": "maybe"}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**document, "probability_fake": 1.5}, schema)


def test_a_row_conforms() -> None:
    schema = printed("--rows")
    jsonschema.validate({"text": "A claim.", "evidence": [{"text": "Yes.", "date": None}], "label": "any"}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"id": 1}, schema)
