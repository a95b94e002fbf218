"""`python -m local.providers.aws <engine address>`: how the engine starts the stand-in."""

import sys

from pulumi.provider.experimental.server import main

from local.providers.aws.plugin import AwsStandIn

if __name__ == "__main__":
    # The engine asks for the version that the program's SDK names; a plugin on PATH is taken whatever it says.
    main(sys.argv[1:], "7.51.1", AwsStandIn())
