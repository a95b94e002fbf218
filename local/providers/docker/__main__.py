"""`python -m local.providers.docker <engine address>`: how the engine starts the stand-in."""

import sys

from pulumi.provider.experimental.server import main

from local.providers.docker.plugin import DockerStandIn

if __name__ == "__main__":
    main(sys.argv[1:], "5.2.0", DockerStandIn())
