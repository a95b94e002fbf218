"""`python -m local.providers.aws <engine address>`: how the engine starts the stand-in."""

import importlib.metadata

from local.providers.aws.plugin import AwsStandIn
from local.providers.serve import serve

if __name__ == "__main__":
    serve(AwsStandIn(), importlib.metadata.version("pulumi_aws"))
