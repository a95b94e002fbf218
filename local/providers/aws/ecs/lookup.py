"""`aws.ecs.get_service`: every attribute of the data source, from what "ECS" runs.

`internal/service/ecs/service_data_source.go` of hashicorp/terraform-provider-aws; the shapes are `GetServiceResult` of the SDK.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from local.providers.aws.ecs.record import Record, records
from local.providers.aws.place import Place
from local.providers.kind import Properties


def _service(place: Place, arguments: Properties) -> Properties:
    cluster = str(arguments.get("clusterArn") or "default").rpartition("/")[2]
    name = str(arguments["serviceName"]).rpartition("/")[2]
    arn = place.arn("ecs", f"service/{cluster}/{name}", region=arguments.get("region"))
    with records() as services:
        record = services.get(arn)
    if record is None:
        raise ValueError(f"no matching ECS Service found: {name!r} in the cluster {cluster!r}")
    return _described(place, arn, cluster, record)


def _described(place: Place, arn: str, cluster: str, record: Record) -> Properties:
    service = record["definition"]
    return {
        "id": arn,
        "arn": arn,
        "availabilityZoneRebalancing": service.get("availabilityZoneRebalancing", "ENABLED"),
        "capacityProviderStrategies": [
            {"base": 0, "weight": 0} | strategy for strategy in service.get("capacityProviderStrategies") or []
        ],
        "clusterArn": place.arn("ecs", f"cluster/{cluster}"),
        "createdAt": record["createdAt"],
        "createdBy": "",
        "deploymentConfigurations": [_deployment_configuration(service)],
        "deploymentControllers": [service.get("deploymentController") or {"type": "ECS"}],
        "deployments": [_deployment(one) for one in record["deployments"]],
        "desiredCount": service.get("desiredCount", 0),
        "enableEcsManagedTags": service.get("enableEcsManagedTags", False),
        "enableExecuteCommand": service.get("enableExecuteCommand", False),
        "events": record["events"],
        "healthCheckGracePeriodSeconds": service.get("healthCheckGracePeriodSeconds", 0),
        "iamRole": service.get("iamRole", ""),
        "launchType": service.get("launchType", ""),
        "loadBalancers": [
            {"advancedConfigurations": [], "elbName": "", "targetGroupArn": ""} | one
            for one in service.get("loadBalancers") or []
        ],
        "networkConfigurations": [
            {"assignPublicIp": False, "securityGroups": []} | one
            for one in _listed(service.get("networkConfiguration"))
        ],
        "orderedPlacementStrategies": service.get("orderedPlacementStrategies") or [],
        "pendingCount": 0,
        "placementConstraints": service.get("placementConstraints") or [],
        "platformFamily": "Linux",
        "platformVersion": service.get("platformVersion", "LATEST"),
        "propagateTags": service.get("propagateTags", "NONE"),
        "region": place.region,
        "runningCount": record["runningCount"],
        "schedulingStrategy": service.get("schedulingStrategy", "REPLICA"),
        "serviceName": service["name"],
        "serviceRegistries": [
            {"containerName": "", "containerPort": 0, "port": 0} | one
            for one in _listed(service.get("serviceRegistries"))
        ],
        "status": "ACTIVE",
        "tags": {},
        "taskDefinition": service.get("taskDefinition", ""),
        "taskSets": [],
    }


def _deployment_configuration(service: Properties) -> Properties:
    return {
        "alarms": _listed(service.get("alarms")),
        "bakeTimeInMinutes": "0",
        "canaryConfigurations": [],
        "deploymentCircuitBreakers": _listed(service.get("deploymentCircuitBreaker")),
        "lifecycleHooks": [],
        "linearConfigurations": [],
        "maximumPercent": service.get("deploymentMaximumPercent", 200),
        "minimumHealthyPercent": service.get("deploymentMinimumHealthyPercent", 100),
        "strategy": "ROLLING",
    }


def _deployment(deployment: Properties) -> Properties:
    return {key: value for key, value in deployment.items() if key != "completed"} | {"pendingCount": 0}


def _listed(value: Any) -> list[Any]:
    return [] if value is None else [value]


FUNCTIONS: Mapping[str, Callable[[Place, Properties], Properties]] = {"aws:ecs/getService:getService": _service}
