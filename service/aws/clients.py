"""Clients of AWS, made once at the start: making one is slow and not safe in threads (boto3 issue 1592).

Credentials, and the endpoint when ``AWS_ENDPOINT_URL`` is set, come from boto3's own chain; on ECS that is the task
role's credentials endpoint.
"""

from __future__ import annotations

from typing import Any

from boto3.session import Session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from service.aws.curl_transport import CurlTransport

CONNECT_TIMEOUT_SECONDS = 2

# What a call can raise: refused by AWS, or never got there.
AwsError: tuple[type[Exception], ...] = (BotoCoreError, ClientError)


class Clients:
    """Makes clients that share one session, so that service descriptions are loaded once."""

    def __init__(self, region: str) -> None:
        self.session = Session(region_name=region)

    def client(self, service: str, *, connections: int, read_timeout_seconds: float = 5, attempts: int = 3) -> Any:
        """A client for ``connections`` threads; further ones would throw their connections away after each call."""
        config = Config(
            connect_timeout=CONNECT_TIMEOUT_SECONDS,
            read_timeout=read_timeout_seconds,
            max_pool_connections=connections,
            retries={"mode": "standard", "total_max_attempts": attempts},
            # Together a quarter of what a call costs in processor time: the requests here are made by typed code, and
            # botocore would put its own user agent together anew for every call.
            parameter_validation=False,
            user_agent="service",
        )
        client = self.session.client(service, config=config)
        if service == "sqs":
            transport = CurlTransport(
                connect_timeout_seconds=CONNECT_TIMEOUT_SECONDS, read_timeout_seconds=read_timeout_seconds
            )
            client.meta.events.register("before-send.sqs", transport)
        return client


def error_code(error: Exception) -> str:
    """The code that AWS gave, such as ``AccessDenied``, or the kind of failure if no answer came."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        return str(response.get("Error", {}).get("Code", "Unknown"))
    return type(error).__name__
