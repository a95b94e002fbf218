"""Where the worker's objects go.

Objects are created and never replaced: what is there already was made of the same message, since a key depends on the
message alone.

S3 is reached through obstore and not boto3: a put costs a tenth of the processor time, and nothing of it holds Python's
lock. Credentials and the endpoint still come from boto3's session, whose chain knows every place that AWS puts them.
"""

from __future__ import annotations

import os
import re
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

import obstore
from obstore.auth.boto3 import Boto3CredentialProvider
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import S3Store

from service.aws.clients import Clients

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig

# botocore renews credentials that end within 10 minutes, so that what it hands out lasts at least so long; obstore asks
# again 5 minutes before the end that it is told.
CREDENTIALS_LAST_SECONDS = 600.0
_HEADERS = {"Content-Type": "application/json"}
_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>(\w{1,100})</Code>")


class StoreFailed(Exception):
    """The object could not be stored this time."""


class Bucket(Protocol):
    """Where objects go."""

    def put(self, key: str, content: bytes) -> bool:
        """Creates an object; False if there is one already. Blocks. Raises StoreFailed."""
        ...


class S3Bucket:
    def __init__(
        self,
        clients: Clients,
        name: str,
        *,
        timeout_seconds: float = 10,
        attempts: int = 3,
        pause_seconds: float = 0.1,
        credentials_last_seconds: float = CREDENTIALS_LAST_SECONDS,
    ) -> None:
        """One call to S3 may take ``timeout_seconds``; one that S3 fails is made up to ``attempts`` times."""
        endpoint = str(clients.client("s3", connections=1).meta.endpoint_url)
        # An endpoint of one's own has rarely a name for each bucket. AWS has, and prefers to be called by it.
        own = not urlsplit(endpoint).netloc.endswith((".amazonaws.com", ".amazonaws.com.cn"))
        options: ClientConfig = {
            "allow_http": endpoint.startswith("http://"),
            "connect_timeout": timedelta(seconds=2),
            "timeout": timedelta(seconds=timeout_seconds),
            # S3 closes idle connections; a put into one that is just being closed would fail.
            "pool_idle_timeout": timedelta(seconds=4),
        }
        if bundle := os.environ.get("AWS_CA_BUNDLE"):
            options["root_certificate"] = Path(bundle).read_bytes()
        retries: RetryConfig = {
            "max_retries": attempts - 1,
            "retry_timeout": timedelta(seconds=2 * timeout_seconds),
            "backoff": {
                "init_backoff": timedelta(seconds=pause_seconds),
                "max_backoff": timedelta(seconds=5),
                "base": 2,
            },
        }
        self.store = S3Store(
            name,
            endpoint=endpoint if own or "." in name else endpoint.replace("://", f"://{name}.", 1),
            virtual_hosted_style_request=not own and "." not in name,
            region=clients.session.region_name,
            client_options=options,
            retry_config=retries,
            credential_provider=Boto3CredentialProvider(
                clients.session, ttl=timedelta(seconds=credentials_last_seconds)
            ),
        )

    def put(self, key: str, content: bytes) -> bool:
        try:
            obstore.put(self.store, key, content, attributes=_HEADERS, mode="create", use_multipart=False)
        except AlreadyExistsError as error:
            # obstore says the same of 409, which S3 answers while another request for the key is under way, and
            # however that one ends: https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
            if _status(error) == 412:
                return False
            raise StoreFailed(_reason(error)) from error
        except (BaseError, OSError) as error:
            raise StoreFailed(_reason(error)) from error
        return True


def _status(error: Exception) -> int:
    found = _STATUS.search(str(error))
    return int(found[1]) if found else 0


def _reason(error: Exception) -> str:
    """S3's code, such as ``SlowDown``, or the status, or the kind of failure if no answer came."""
    text = str(error)
    if found := _CODE.search(text):
        return found[1]
    if status := _status(error):
        return f"status {status}"
    # What follows is for debugging and runs over many lines.
    return f"{type(error).__name__}: {text.partition(chr(10))[0][:300]}"
