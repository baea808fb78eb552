"""The API's own description (OpenAPI 3.1): who may call what, all that can go wrong, and an example of every answer.

FastAPI describes parameters and bodies; added here is what lies outside the routes: the guard, the limits, and problem
details in place of its own errors.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import resources
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from weighup.serve.api.idempotency import HEADER
from weighup.serve.api.limits import ALWAYS
from weighup.serve.api.problems import ABOUT, KINDS, MEDIA_TYPE, ProblemView

SUMMARY = "Judges news as it breaks, with evidence, reasoning and tone each judged for reliability first."
_ABOUT_KEYS = (
    "A key of `weighup keys create`, sent as `Authorization: Bearer wu_…`. The scopes named are alternatives. Where no "
    "key was ever made, the server's own machine may ask without one."
)
_GUARDED = ("unauthenticated", "forbidden", "misdirected", "rate-limited", "internal", "overloaded")
_BODY = ("bad-request", "timeout", "too-large", "unsupported-media-type")
_METHODS = ("get", "post", "patch", "delete")
_RETRY = {"Retry-After": {"description": "Seconds after which to come again.", "schema": {"type": "integer"}}}
_ID = {"X-Request-ID": {"description": "Names the request in the server's log.", "schema": {"type": "string"}}}
_CHALLENGE = {"WWW-Authenticate": {"description": "How to show a key.", "schema": {"type": "string"}}}


def install(app: FastAPI) -> None:
    """Describe the routes of health and under /v1; pages have no place in it."""

    def describe() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = described(app)
        return app.openapi_schema

    app.openapi = describe  # type: ignore[method-assign]


def described(app: FastAPI) -> dict[str, Any]:
    """The description, made anew."""
    told = get_openapi(title=app.title, version=app.version, summary=SUMMARY, routes=app.routes)
    told["paths"] = {path: item for path, item in told["paths"].items() if path.startswith("/v1/") or path in ALWAYS}
    told["info"]["license"] = {"name": "Apache-2.0", "identifier": "Apache-2.0"}
    parts = told.setdefault("components", {})
    schemas = parts.setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    problem = ProblemView.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas |= problem.pop("$defs", {})
    schemas["Problem"] = problem
    parts["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer", "description": _ABOUT_KEYS}}
    given = examples()
    for path, method, operation in operations(told):
        _secure(operation)
        for parameter in operation.get("parameters", ()):
            _never_null(parameter["schema"])
        _errors(path, method, operation)
        for status, response in operation["responses"].items():
            if status.startswith("2"):
                name = operation["operationId"] + ("_job" if status == "202" else "")
                _example(response, given.get(name), given["claimreview"])
                response["headers"] = {**_ID, **response.get("headers", {})}
    return told


def operations(told: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Every operation of a description: path, method, what is said of it."""
    for path, item in told["paths"].items():
        for method in _METHODS:
            if method in item:
                yield path, method, item[method]


def examples() -> dict[str, Any]:
    """What each operation answered once, by its id."""
    read = resources.files("weighup.serve.api").joinpath("examples.json").read_text(encoding="utf-8")
    told: dict[str, Any] = json.loads(read)
    verdict = told.pop("$verdict")
    return {name: _filled(example, verdict) for name, example in told.items()}


def _filled(example: Any, verdict: Any) -> Any:
    if example == "$verdict":
        return verdict
    if isinstance(example, dict):
        return {name: _filled(value, verdict) for name, value in example.items()}
    if isinstance(example, list):
        return [_filled(value, verdict) for value in example]
    return example


def _secure(operation: dict[str, Any]) -> None:
    scopes = operation.get("x-scopes")
    if scopes:
        operation["security"] = [{"key": [scope]} for scope in scopes]


def _never_null(schema: dict[str, Any]) -> None:
    """Without `null`: no parameter can be that, it can only be left out."""
    forms = [form for form in schema.get("anyOf", ()) if form != {"type": "null"}]
    if len(forms) == 1:
        del schema["anyOf"]
        schema |= forms[0]


def _errors(path: str, method: str, operation: dict[str, Any]) -> None:
    responses = operation["responses"]
    responses.pop("422", None)
    by_status: dict[int, list[str]] = {}
    for name in _kinds(path, method, operation):
        by_status.setdefault(KINDS[name].status, []).append(name)
    for status, names in sorted(by_status.items()):
        responses[str(status)] = _problem(status, names)


def _kinds(path: str, method: str, operation: dict[str, Any]) -> Iterator[str]:
    """What can go wrong with an operation."""
    names = {parameter["name"] for parameter in operation.get("parameters", ())}
    if "x-scopes" in operation:
        yield from (kind for kind in _GUARDED if path not in ALWAYS or kind != "misdirected")
        yield from ("invalid", "quota-spent", "unavailable")
        if path not in ALWAYS:
            yield from ("stopping", "too-slow")
    elif path == "/readyz":
        yield from ("stopping", "unavailable", "overloaded")
    if "requestBody" in operation:
        yield from _BODY
    if "{" in path or operation["operationId"] == "label":
        yield "not-found"
    if HEADER in names:
        yield from ("in-progress", "key-reused")
    if operation["operationId"] == "verdict":
        yield "not-acceptable"


def _problem(status: int, names: list[str]) -> dict[str, Any]:
    kinds = [KINDS[name] for name in names]
    headers: dict[str, Any] = dict(_ID)
    if status in (409, 429, 503):
        headers |= _RETRY
    if status == 401:
        headers |= _CHALLENGE
    shown = {
        kind.name: {
            "summary": kind.title,
            "value": {
                "type": ABOUT + kind.name,
                "title": kind.title,
                "status": status,
                "detail": kind.title.lower(),
                "request_id": "f3fe5fe16d4b40009d07e0676701781c",
            },
        }
        for kind in kinds
    }
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}, "examples": shown}}
    return {"description": "; ".join(f"{kind.title} (`{kind.name}`)" for kind in kinds), "headers": headers} | {
        "content": content
    }


def _example(response: dict[str, Any], example: Any, review: Any) -> None:
    for kind, told in response.get("content", {}).items():
        if kind == "application/ld+json":
            told["example"] = review
        elif example is not None:
            told["example"] = example
