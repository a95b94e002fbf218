"""`python -m local.providers <package> <version> <engine address>`: how the engine starts a stand-in."""

from __future__ import annotations

import sys

from local.providers.serve import serve
from local.providers.standin import StandIn


def stand_in(package: str) -> StandIn:
    """The stand-in for a package: its own, or one that knows no type and no function."""
    # Imported when it is asked for: each plugin is a process, and starts as quickly as what it needs.
    match package:
        case "aws":
            from local.providers.aws.plugin import AwsStandIn

            return AwsStandIn()
        case "docker":
            from local.providers.docker.plugin import DockerStandIn

            return DockerStandIn()
        case "random":
            from local.providers.random.plugin import RandomStandIn

            return RandomStandIn()
        case _:
            return StandIn(package)


if __name__ == "__main__":
    serve(stand_in(sys.argv[1]), sys.argv[2])
