"""One HTTP request to the embedded AWS, as the gate needs to see it."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from werkzeug.wrappers import Request


@dataclass(frozen=True)
class SignedScope:
    """The credential scope of AWS Signature Version 4 and where it was found."""

    access_key_id: str
    region: str
    service: str
    signature: str
    signed_headers: tuple[str, ...]
    timestamp: str
    in_query: bool


@dataclass(frozen=True)
class CloudRequest:
    """`raw_path` is what was sent, undecoded; `body` is read whole (the largest messages and objects here fit in memory)."""

    method: str
    host: str
    raw_path: str
    raw_query: str
    headers: Mapping[str, str]
    body: bytes

    @classmethod
    def read(cls, environ: dict[str, Any]) -> CloudRequest:
        """Takes the request out of a WSGI environment and puts the body back for the next application."""
        request = Request(environ)
        body = request.get_data(cache=False)
        environ["wsgi.input"] = io.BytesIO(body)
        # The body has been de-chunked above; what follows must not wait for chunks again.
        environ["CONTENT_LENGTH"] = str(len(body))
        environ.pop("HTTP_TRANSFER_ENCODING", None)
        environ.pop("wsgi.input_terminated", None)
        target = urlsplit(str(environ.get("REQUEST_URI") or environ.get("RAW_URI") or environ["PATH_INFO"]))
        return cls(
            method=request.method,
            host=request.headers.get("Host", ""),
            raw_path=target.path or "/",
            raw_query=target.query,
            headers={key.lower(): value for key, value in request.headers.items()},
            body=body,
        )

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(self.raw_query, keep_blank_values=True))

    @property
    def repeats_a_parameter(self) -> bool:
        """Whether a parameter of the query or of a form body comes twice, of which readers may take either."""
        pairs = parse_qsl(self.raw_query, keep_blank_values=True)
        if self.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
            pairs += parse_qsl(self.body.decode("utf-8", "replace"), keep_blank_values=True)
        names = [name for name, _ in pairs]
        return len(names) != len(set(names))

    @property
    def path(self) -> str:
        return unquote(self.raw_path)

    @property
    def form(self) -> dict[str, str]:
        """Parameters of the Query protocol, from the body or the query string."""
        if self.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
            return self.query | dict(parse_qsl(self.body.decode("utf-8", "replace"), keep_blank_values=True))
        return self.query

    @property
    def json(self) -> dict[str, Any]:
        """Parameters of the JSON protocols; empty when the body is not a JSON object."""
        try:
            value = json.loads(self.body or b"{}")
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}

    @property
    def target(self) -> str:
        """The operation that `X-Amz-Target` names, without its service prefix; empty for other protocols."""
        return self.headers.get("x-amz-target", "").rpartition(".")[2]

    def scope(self) -> SignedScope | None:
        """The signature's scope, or None for a request that isn't signed with Signature Version 4."""
        authorization = self.headers.get("authorization", "")
        try:
            if authorization.startswith("AWS4-HMAC-SHA256"):
                fields = dict(
                    part.strip().split("=", 1) for part in authorization.removeprefix("AWS4-HMAC-SHA256").split(",")
                )
                return _scope(
                    fields["Credential"],
                    fields["Signature"],
                    fields["SignedHeaders"],
                    self.headers.get("x-amz-date", ""),
                    False,
                )
            query = self.query
            if "X-Amz-Signature" in query:
                return _scope(
                    query["X-Amz-Credential"],
                    query["X-Amz-Signature"],
                    query["X-Amz-SignedHeaders"],
                    query["X-Amz-Date"],
                    True,
                )
        except (KeyError, ValueError):
            return None
        return None


def _scope(credential: str, signature: str, signed_headers: str, timestamp: str, in_query: bool) -> SignedScope:
    access_key_id, _, region, service, _ = credential.split("/")
    return SignedScope(access_key_id, region, service, signature, tuple(signed_headers.split(";")), timestamp, in_query)
