"""The description of the HTTP API (OpenAPI 3.1), and the same as a page that needs nothing from elsewhere."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from typing import Any

from srgan import __version__
from srgan.serve.wish import FORMATS

_PROBLEM = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "description": "urn:srgan: and a short kind, for programs"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "the sentence that the command line would say"},
    },
}
_MODEL = {
    "type": "object",
    "required": ["model", "sha256", "version", "engine", "precision"],
    "properties": {name: {"type": "string"} for name in ("model", "sha256", "version", "engine", "precision")},
}
_REFUSALS = {
    "400": "A parameter or the form is wrong.",
    "401": "The token is missing or wrong.",
    "403": "Another site's page, or a name that the service does not go by.",
    "405": "Another method.",
    "408": "The body came too slowly.",
    "409": "Parameters that exclude one another.",
    "413": "More bytes than the limit.",
    "415": "Not a picture and not a form.",
    "422": "The picture is damaged, of a kind that is not read, or has more pixels than the limit.",
    "429": "Too many requests are waiting; Retry-After says when to come back.",
    "500": "A fault of the service.",
    "503": "Shutting down, or the picture needs more time than the limit.",
}
_HEADERS = {
    "X-Srgan-Model": "the model's name",
    "X-Srgan-Model-Sha256": "the hash of its weights",
    "X-Srgan-Version": "of this package",
    "X-Srgan-Engine": "what computed it",
    "X-Srgan-Precision": "of the computation",
    "Server-Timing": "milliseconds: wait (in the queue) and work (decode, upscale, encode)",
}


def description(*, models: Sequence[str], texture: bool, token: bool, pixels: int, size: int) -> dict[str, Any]:
    """The whole description for a service with these models and limits."""
    operations: dict[str, Any] = {
        "/v1/upscale": {"post": _upscale(models, texture, pixels, size)},
        "/v1/models": {"get": _models()},
        "/healthz": {"get": _plain("Whether the process lives", "text/plain") | {"security": []}},
        "/readyz": {"get": _plain("Whether it takes work now", "text/plain", "503") | {"security": []}},
        "/metrics": {"get": _plain("Counts and gauges for Prometheus", "text/plain")},
    }
    schemes = {"token": {"type": "http", "scheme": "bearer", "description": "the token that `srgan serve` printed"}}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "srgan",
            "version": __version__,
            "description": "Pictures four times larger. SRGAN invents texture: its output is not evidence.",
        },
        "paths": operations,
        "components": {"schemas": {"Problem": _PROBLEM}} | ({"securitySchemes": schemes} if token else {}),
        "security": [{"token": []}] if token else [],
    }


def _upscale(models: Sequence[str], texture: bool, pixels: int, size: int) -> dict[str, Any]:
    picture = {"type": "string", "format": "binary"}
    fields: dict[str, Any] = {"type": "object", "required": ["picture"], "properties": {"picture": picture}}
    fields["additionalProperties"] = False
    form = {"schema": fields, "encoding": {"picture": {"contentType": ", ".join(FORMATS.values())}}}
    kinds = [*FORMATS.values(), "image/gif", "application/octet-stream"]
    parameters = [
        _parameter("model", {"type": "string", "enum": list(models), "default": models[0]}, "Which network."),
        _parameter("scale", {"type": "integer", "enum": [2, 3, 4], "default": 4}, "How many times larger."),
        _parameter("format", {"type": "string", "enum": list(FORMATS)}, "The answer's format; else the request's."),
        _parameter("provenance", {"type": "boolean", "default": True}, "Say in the metadata what made the picture."),
    ]
    if texture:
        mixed = {"type": "number", "minimum": 0, "maximum": 1}
        parameters.append(_parameter("texture", mixed, "0 faithful (srresnet) to 1 sharp (srgan); excludes model."))
    return {
        "operationId": "upscale",
        "summary": "A picture in, the larger picture out: the bytes that `srgan upscale` writes",
        "description": f"At most {pixels:,} pixels and {size:,} bytes.",
        "parameters": parameters,
        "requestBody": {
            "required": True,
            "content": {kind: {"schema": picture} for kind in kinds} | {"multipart/form-data": form},
        },
        "responses": {
            "200": {
                "description": "The larger picture.",
                "headers": {name: _header(what) for name, what in _HEADERS.items()},
                "content": {kind: {"schema": picture} for kind in FORMATS.values()},
            },
            **_problems(*_REFUSALS),
        },
    }


def _models() -> dict[str, Any]:
    listed = {
        "type": "object",
        "required": ["models", "texture"],
        "properties": {"models": {"type": "array", "items": _MODEL}, "texture": {"type": "boolean"}},
    }
    return {
        "operationId": "models",
        "summary": "The models on offer, the default first",
        "responses": {
            "200": {"description": "The list.", "content": {"application/json": {"schema": listed}}},
            **_problems("401", "403", "405"),
        },
    }


def _plain(summary: str, kind: str, *more: str) -> dict[str, Any]:
    answer = {"description": "Text.", "content": {kind: {"schema": {"type": "string"}}}}
    return {"summary": summary, "responses": {"200": answer, **_problems("401", "403", "405", *more)}}


def _problems(*statuses: str) -> dict[str, Any]:
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": _REFUSALS[status], "content": content} for status in statuses}


def _parameter(name: str, schema: dict[str, Any], what: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": schema, "description": what}


def _header(what: str) -> dict[str, Any]:
    return {"description": what, "schema": {"type": "string"}}


def page(described: dict[str, Any]) -> str:
    """The description as HTML, readable without scripts."""
    rows = []
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            rows.append(f"<h2><code>{method.upper()} {path}</code></h2><p>{_text(operation['summary'])}")
            rows.append(f"{'. ' + _text(operation['description']) if 'description' in operation else ''}</p>")
            rows.append(_table("Parameter", _parameters(operation)))
            kinds = operation.get("requestBody", {}).get("content", {})
            if kinds:
                rows.append(
                    f"<p>Body: <code>{'</code>, <code>'.join(kinds)}</code> (the form's field is "
                    "<code>picture</code>).</p>"
                )
            rows.append(_table("Answer", {s: r["description"] for s, r in operation["responses"].items()}))
            headers = operation["responses"]["200"].get("headers", {})
            rows.append(_table("Header of 200", {name: header["description"] for name, header in headers.items()}))
    return _PAGE.replace("{body}", "\n".join(rows)).replace("{about}", _text(described["info"]["description"]))


def _parameters(operation: dict[str, Any]) -> dict[str, str]:
    return {
        parameter["name"]: f"{parameter['description']} {json.dumps(parameter['schema'])}"
        for parameter in operation.get("parameters", ())
    }


def _table(title: str, rows: dict[str, str]) -> str:
    if not rows:
        return ""
    cells = "".join(f"<tr><th scope=row><code>{_text(k)}</code><td>{_text(v)}" for k, v in rows.items())
    return f"<table><caption>{title}</caption>{cells}</table>"


def _text(text: str) -> str:
    return html.escape(text)


_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>srgan: HTTP API</title><link rel="stylesheet" href="/static/page.css">
<body class="reading"><main><h1>srgan: HTTP API</h1><p>{about}</p>
<p>For programs: <a href="/openapi.json">openapi.json</a>. The page: <a href="/">upscale a picture</a>.</p>
<pre>curl -H "Content-Type: image/png" --data-binary @photo.png -o photo_x4.png \\
     "http://127.0.0.1:7860/v1/upscale?model=srgan"</pre>
{body}</main></body></html>"""
