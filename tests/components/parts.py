"""The parts that most components need, small."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from components import ApiService, Cluster, EfsVolume, Image, Network, Scaling, Size

CONTEXT = Path(__file__).parent / "context"
SMALL = Size(cpu=256, memory=512)


def network(**arguments: Any) -> Network:
    return Network("network", **{"vpc": "default", "availability_zones": 2, **arguments})


def cluster(**arguments: Any) -> Cluster:
    name = arguments.pop("name", "cluster")
    inside = arguments.pop("network", None) or network()
    return Cluster(name, **{"network": inside, "log_retention_days": 30, "retain_logs": False, **arguments})


def image(**arguments: Any) -> Image:
    return Image("service", **{"context": str(CONTEXT), "protected": False, **arguments})


def volume(inside: Network) -> EfsVolume:
    return EfsVolume("files", network=inside, protected=False)


def api(**arguments: Any) -> ApiService:
    given = {"health_path": "/healthcheck", "size": SMALL, "command": ["api"], "scaling": Scaling(min=1, max=3)}
    defaults = {key: make() for key, make in (("cluster", cluster), ("image", image)) if key not in arguments}
    return ApiService(arguments.pop("name", "api"), **{**given, **defaults, **arguments})
