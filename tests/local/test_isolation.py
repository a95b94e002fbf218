from __future__ import annotations

import os

from local.isolation import isolate


def test_an_account_is_out_of_reach_and_loopback_is_direct() -> None:
    environment = {
        "AWS_PROFILE": "work",
        "AWS_ACCESS_KEY_ID": "AKIA",
        "HTTP_PROXY": "http://proxy",
        "NO_PROXY": "corp",
        "HOME": "/h",
    }
    isolate(environment)
    assert environment == {
        "HTTP_PROXY": "http://proxy",
        "HOME": "/h",
        "NO_PROXY": "corp,127.0.0.1,localhost,::1",
        "no_proxy": "127.0.0.1,localhost,::1",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }
