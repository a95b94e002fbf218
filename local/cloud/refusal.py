"""How AWS says no, in the protocol of the service that was asked."""

from __future__ import annotations

import json
from xml.sax.saxutils import escape

from werkzeug.wrappers import Response

from local.cloud.request import CloudRequest

_REQUEST_ID = "local-stack"


def refusal(request: CloudRequest, service: str, code: str, message: str, status: int = 403) -> Response:
    """An error response that SDKs parse into a `ClientError` with this code."""
    if service == "s3":
        body = (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            f"<Error><Code>{code}</Code><Message>{escape(message)}</Message><RequestId>{_REQUEST_ID}</RequestId></Error>"
        )
        return Response(body, status, content_type="application/xml")
    if request.headers.get("x-amz-target"):
        # JSON services name it AccessDeniedException and answer 400, SQS keeps the name of its Query days.
        name = code if service == "sqs" or code != "AccessDenied" else "AccessDeniedException"
        response = Response(
            json.dumps({"__type": name, "message": message, "Message": message}), 403 if service == "sqs" else 400
        )
        response.content_type = "application/x-amz-json-1.0"
        if service == "sqs":
            response.headers["x-amzn-query-error"] = f"{code};Sender"
        return response
    body = (
        f"<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{escape(message)}</Message></Error>"
        f"<RequestId>{_REQUEST_ID}</RequestId></ErrorResponse>"
    )
    return Response(body, status, content_type="text/xml")
