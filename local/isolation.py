"""What of the user's environment must not reach the local stack: their AWS account, and a proxy in front of loopback."""

from __future__ import annotations

import os
from collections.abc import MutableMapping

_LOOPBACK = "127.0.0.1,localhost,::1"


def isolate(environment: MutableMapping[str, str] = os.environ) -> None:
    """Takes the account's variables away and keeps loopback connections direct; child processes inherit it."""
    for name in [name for name in environment if name.startswith("AWS_")]:
        del environment[name]
    # SDKs also look into the home folder.
    environment["AWS_CONFIG_FILE"] = environment["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull
    for name in ("NO_PROXY", "no_proxy"):
        environment[name] = ",".join(part for part in (environment.get(name), _LOOPBACK) if part)
