"""Refusals of a request: a status, a short kind for programs and a sentence for people (RFC 9457)."""

import logging
import re
from collections.abc import Mapping
from contextvars import ContextVar
from http import HTTPStatus

from srgan.errors import ImageError, SrganError, UsageError

STATUSES = {
    400: "A parameter or the form is wrong.",
    401: "The token is missing or wrong.",
    403: "A page of another site, or a host name that the service does not accept.",
    405: "The path takes another method.",
    408: "The body came too slowly.",
    409: "Parameters that exclude one another.",
    413: "More bytes than the limit.",
    415: "Neither an image nor a form.",
    422: "The image is damaged, of a kind that is not read, or has more pixels than the limit.",
    429: "Too many requests are waiting; Retry-After says when to come back.",
    500: "A bug of the service.",
    503: "Shutting down, too many connections are open, or the image needs more time than the limit.",
}
"""What each refusal of a described route means."""

log = logging.getLogger("srgan")

REQUEST_ID: ContextVar[str] = ContextVar("REQUEST_ID", default="")
"""The id of the request at work."""
_FOLDERS = re.compile(r"(?<![\w/.])/(?:[^\s/]+/)+")


def _begin_with_id(record: logging.LogRecord) -> bool:
    if request_id := REQUEST_ID.get():
        record.msg = f"{request_id} {record.msg}"
    return True


log.addFilter(_begin_with_id)


class Problem(Exception):
    """An answer other than 200, as the members and headers of application/problem+json."""

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        *,
        retry_after: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.kind, self.detail = status, kind, detail
        self.headers = dict(headers or {})
        if retry_after is not None:
            self.headers["Retry-After"] = str(retry_after)

    def members(self) -> dict[str, str | int]:
        """The four members of the JSON object."""
        title = HTTPStatus(self.status).phrase
        return {"type": f"urn:srgan:{self.kind}", "title": title, "status": self.status, "detail": self.detail}


def problem_from_error(error: Exception) -> Problem:
    """422 for the image, 400 for the parameters, without folders of this machine; the rest is 500, and a line of the log."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, (ImageError, UsageError)):
        status, kind = (422, "picture") if isinstance(error, ImageError) else (400, "parameter")
        return Problem(status, kind, _FOLDERS.sub("", str(error)))
    if isinstance(error, SrganError):
        log.error("failed: %s", error)
    else:
        log.error("failed", exc_info=error)
    return Problem(500, "fault", "A fault of the service, or a bug in srgan: the server's log has the details.")
