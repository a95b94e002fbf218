"""What the mocked AWS computes and answers."""

from __future__ import annotations

from typing import Any

from tests.components import vpcs

ACCOUNT = "123456789012"
REGION = "eu-west-1"
PARTITION = "aws"
ZONES = list(vpcs.ZONE_IDS)
DIGEST = "sha256:" + "ab" * 32
GENERATED = "aB3" * 14 + "x"

_SERVICES = {"cloudwatch": "logs", "lb": "elasticloadbalancing", "efs": "elasticfilesystem"}


def identity(type_: str, name: str) -> str:
    """The id of a resource."""
    return f"{name}-id"


def physical_name(name: str, inputs: dict[str, Any]) -> str:
    """The name that Pulumi or the provider gives."""
    if "namePrefix" in inputs:
        return f"{inputs['namePrefix']}20300131030000"
    return str(inputs.get("name") or inputs.get("bucket") or f"{name}-1a2b3c4")


def computed(type_: str, name: str, inputs: dict[str, Any]) -> dict[str, Any]:
    """The outputs that AWS computes: for every type those that any type has, so that none is a silent None."""
    service = type_.split(":")[1].split("/")[0]
    service = _SERVICES.get(service, service)
    physical = physical_name(name, inputs)
    arn = f"arn:{PARTITION}:{service}:{REGION}:{ACCOUNT}:{physical}"
    if service == "iam":
        arn = f"arn:{PARTITION}:iam::{ACCOUNT}:role/{physical}"
    if service == "s3":
        arn = f"arn:{PARTITION}:s3:::{physical}"
    outputs: dict[str, Any] = {
        "arn": arn,
        "name": physical,
        "url": f"https://{service}.{REGION}.amazonaws.com/{ACCOUNT}/{physical}",
        "bucket": physical,
        "arnSuffix": f"suffix/{physical}",
        "dnsName": f"{physical}.{REGION}.elb.amazonaws.com",
        "zoneId": "Z0123456789",
        "fqdn": physical,
        "registryId": ACCOUNT,
        "repositoryUrl": f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/{physical}",
        "repoDigest": f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/{physical}@{DIGEST}",
        "allocationId": f"eipalloc-{name}",
    }
    if type_ == "random:index/randomPassword:RandomPassword":
        outputs["result"] = GENERATED
    if type_ == "aws:acm/certificate:Certificate":
        outputs["domainValidationOptions"] = [
            {
                "domainName": inputs["domainName"],
                "resourceRecordName": f"_proof.{inputs['domainName']}.",
                "resourceRecordType": "CNAME",
                "resourceRecordValue": "_proof.acm-validations.aws.",
            }
        ]
    return outputs


def ecs_service(
    task_definition: str, *, running: int, desired: int, pending: int = 0, events: tuple[str, ...] = ()
) -> dict[str, Any]:
    """What getService answers of a service with one deployment, which runs this revision."""
    primary = {
        "id": "ecs-svc/1",
        "status": "PRIMARY",
        "taskDefinition": task_definition,
        "desiredCount": desired,
        "runningCount": running,
        "pendingCount": pending,
        "createdAt": "2030-01-31T03:00:00Z",
        "updatedAt": "2030-01-31T03:00:00Z",
    }
    return {
        "status": "ACTIVE",
        "clusterArn": f"arn:{PARTITION}:ecs:{REGION}:{ACCOUNT}:cluster/cluster",
        "taskDefinition": task_definition,
        "desiredCount": desired,
        "runningCount": running,
        "pendingCount": pending,
        "deployments": [primary],
        "events": [{"id": "1", "createdAt": "2030-01-31T03:00:00Z", "message": message} for message in events],
    }


def answer(token: str, args: dict[str, Any]) -> dict[str, Any]:
    """The answer of an invoke. Raises KeyError for one that the components are not known to use."""
    answers: dict[str, dict[str, Any]] = {
        "aws:index/getCallerIdentity:getCallerIdentity": {"accountId": ACCOUNT, "id": ACCOUNT},
        "aws:index/getRegion:getRegion": {"region": REGION, "id": REGION},
        "aws:index/getPartition:getPartition": {"partition": PARTITION, "id": PARTITION},
        "aws:ecr/getAuthorizationToken:getAuthorizationToken": {"userName": "AWS", "password": "ecr-password"},
        "aws:route53/getZone:getZone": {"zoneId": "Z0PUBLIC", "name": args.get("name")},
        **vpcs.answers(args),
    }
    return answers[token]
