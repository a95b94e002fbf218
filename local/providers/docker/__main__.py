"""`python -m local.providers.docker <engine address>`: how the engine starts the stand-in."""

import importlib.metadata

from local.providers.docker.plugin import DockerStandIn
from local.providers.serve import serve

if __name__ == "__main__":
    serve(DockerStandIn(), importlib.metadata.version("pulumi_docker"))
