"""The OpenAPI 3.1 description of the API, made from the table of routes. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from sbc.admin.routes import Field, Route

ERROR: Final[dict[str, object]] = {
    "type": "object",
    "properties": {"error": {"type": "string", "description": "what is wrong, in a sentence"}},
    "required": ["error"],
}


def describe(routes: Iterable[Route], version: str) -> dict[str, object]:
    """The document: every route that is not hidden, the two ways to show a key, the form of errors."""
    paths: dict[str, dict[str, object]] = {}
    for route in routes:
        if not route.hidden:
            paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {"title": "SBC", "version": version, "description": "Registrations, calls and pushes of one SBC node."},
        "paths": paths,
        "components": {
            "schemas": {"Error": ERROR},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(route: Route) -> dict[str, object]:
    parameters = [
        {"name": part[1:-1], "in": "path", "required": True, "schema": {"type": "string"}}
        for part in route.parts
        if part.startswith("{")
    ]
    parameters += [_parameter(field) for field in route.query]
    operation: dict[str, object] = {
        "operationId": route.name,
        "summary": route.doc,
        "tags": [route.tag] if route.tag else [],
        "parameters": parameters,
        "responses": {
            "200": {"description": "done", "content": {route.content_type: {"schema": dict(route.answer)}}},
            "default": {
                "description": "an error",
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
            },
        },
        # An empty requirement beside the key: reading on loopback needs none.
        "security": [{"key": []}] if route.need == "write" else [{"key": []}, {}],
    }
    if route.body:
        operation["requestBody"] = {
            "required": any(field.required for field in route.body),
            "content": {
                "application/json": {
                    "schema": {
                        "type": "object",
                        "properties": {field.name: field.schema() for field in route.body},
                        "required": [field.name for field in route.body if field.required],
                        "additionalProperties": False,
                    }
                }
            },
        }
    return operation


def _parameter(field: Field) -> dict[str, object]:
    return {
        "name": field.name,
        "in": "query",
        "required": field.required,
        "description": field.doc,
        "schema": field.schema(),
    }
