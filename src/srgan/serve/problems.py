"""What goes wrong with a request, as RFC 9457 problem+json with the sentence that the command line says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus

from starlette.responses import Response

from srgan.errors import ImageError, SrganError, UsageError


class Problem(Exception):
    """An answer other than 200: a status, a short kind for programs, and a sentence for people."""

    def __init__(
        self,
        status: int,
        kind: str,
        sentence: str,
        *,
        retry_after: int | None = None,
        allow: str | None = None,
    ) -> None:
        super().__init__(sentence)
        self.status, self.kind, self.sentence = status, kind, sentence
        headers = {"Retry-After": str(retry_after)} if retry_after is not None else {}
        headers |= {"Connection": "close"} if status == 408 else {}  # its body is not waited for
        self.headers: Mapping[str, str] = headers | ({"Allow": allow} if allow else {})

    def members(self) -> dict[str, str | int]:
        """The JSON object's members."""
        title = HTTPStatus(self.status).phrase
        return {
            "type": f"urn:srgan:{self.kind}",
            "title": title,
            "status": self.status,
            "detail": self.sentence,
        }

    def response(self) -> Response:
        """The answer. What is left of the request is read and dropped, so that its sender gets to read this."""
        body = json.dumps(self.members(), ensure_ascii=False).encode()
        return Response(body, self.status, self.headers, media_type="application/problem+json")


def problem_from_error(error: SrganError) -> Problem:
    """A sentence of the command line as an answer: 422 for the picture, 400 for the parameters, else 500."""
    if isinstance(error, ImageError):
        return Problem(422, "picture", str(error))
    if isinstance(error, UsageError):
        return Problem(400, "parameter", str(error))
    return Problem(500, "service", str(error))


def fault() -> Problem:
    """Our own fault; the details are in the server's log, not in the answer."""
    return Problem(500, "fault", "This is a fault of srgan, not yours; the server's log has the details.")
