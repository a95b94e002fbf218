"""The provider functions ("invokes") that the stand-in answers, without an account.

Look-ups find what a usual account has: a default VPC over all zones of the region, any VPC, hosted zone or certificate by
the name that is asked for. The same question gets the same answer in every run, so that nothing changes from one plan to
the next.
"""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Callable, Mapping
from typing import Any

from local.providers.aws import ecs, vpc
from local.providers.aws.place import Place, stable_hex
from local.providers.kind import Properties

Function = Callable[[Place, Properties], Properties]


def _caller_identity(place: Place, arguments: Properties) -> Properties:
    user = place.arn("iam", "user/local", region="")
    return {"id": place.account, "accountId": place.account, "arn": user, "userId": "AIDALOCALSTACKOPERATOR"}


def _region(place: Place, arguments: Properties) -> Properties:
    name = arguments.get("region") or place.region
    return {"id": name, "name": name, "region": name, "description": name, "endpoint": f"ec2.{name}.{place.dns_suffix}"}


def _partition(place: Place, arguments: Properties) -> Properties:
    reverse = ".".join(reversed(place.dns_suffix.split(".")))
    return {
        "id": place.partition,
        "partition": place.partition,
        "dnsSuffix": place.dns_suffix,
        "reverseDnsPrefix": reverse,
    }


def _default_tags(place: Place, arguments: Properties) -> Properties:
    return {"id": "default-tags", "tags": dict(place.default_tags)}


def _security_group(place: Place, arguments: Properties) -> Properties:
    name = str(arguments.get("name") or "default")
    identity = str(arguments.get("id") or f"sg-{stable_hex(str(arguments.get('vpcId')), name)}")
    return {"id": identity, "name": name, "arn": place.arn("ec2", f"security-group/{identity}"), "tags": {}}


def _ecr_token(place: Place, arguments: Properties) -> Properties:
    # Another one at each call, as the real one: a program must not depend on it.
    password = f"local-stack-{secrets.token_hex(8)}"
    registry = f"{arguments.get('registryId') or place.account}.dkr.ecr.{place.region}.{place.dns_suffix}"
    return {
        "id": place.region,
        "authorizationToken": base64.b64encode(f"AWS:{password}".encode()).decode(),
        "expiresAt": "2100-01-01T00:00:00Z",
        "password": password,
        "proxyEndpoint": f"https://{registry}",
        "userName": "AWS",
    }


def _ecr_credentials(place: Place, arguments: Properties) -> Properties:
    token = _ecr_token(place, arguments)
    return {key: token[key] for key in ("id", "authorizationToken", "expiresAt", "proxyEndpoint")}


def _hosted_zone(place: Place, arguments: Properties) -> Properties:
    name = str(arguments.get("name") or arguments.get("zoneId") or "")
    if not name:
        raise ValueError("a hosted zone is found by `name` or `zoneId`")
    identity = str(arguments.get("zoneId") or "Z" + stable_hex(name.rstrip("."), length=20).upper())
    return {
        "id": identity,
        "zoneId": identity,
        "arn": f"arn:{place.partition}:route53:::hostedzone/{identity}",
        "name": name.rstrip("."),
        "nameServers": [],
        "privateZone": bool(arguments.get("privateZone", False)),
        "tags": {},
    }


def _certificate(place: Place, arguments: Properties) -> Properties:
    domain = str(arguments.get("domain") or "")
    arn = place.arn("acm", f"certificate/{stable_hex(domain, length=32)}")
    return {"id": arn, "arn": arn, "domain": domain, "status": "ISSUED", "tags": {}}


def _kms_alias(place: Place, arguments: Properties) -> Properties:
    name = str(arguments["name"])
    key_id = stable_hex(name, length=32)
    key_arn = place.arn("kms", f"key/{key_id}")
    return {"id": name, "name": name, "arn": place.arn("kms", name), "targetKeyId": key_id, "targetKeyArn": key_arn}


def _managed_prefix_list(place: Place, arguments: Properties) -> Properties:
    name = str(arguments.get("name") or "")
    return {"id": f"pl-{stable_hex(name, length=8)}", "name": name, "entries": [], "arn": "", "tags": {}}


def _ssm_parameter(place: Place, arguments: Properties) -> Properties:
    name = str(arguments["name"])
    value = f"value-of-{stable_hex(name, length=8)}"
    arn = place.arn("ssm", f"parameter/{name.lstrip('/')}")
    return {
        "id": name,
        "name": name,
        "arn": arn,
        "type": "String",
        "value": value,
        "insecureValue": value,
        "version": 1,
    }


def _policy_document(place: Place, arguments: Properties) -> Properties:
    statements = [_statement(statement) for statement in arguments.get("statements") or []]
    document = {"Version": arguments.get("version") or "2012-10-17", "Statement": statements}
    text = json.dumps(document, indent=2)
    return {
        "id": stable_hex(text, length=10),
        "json": text,
        "minifiedJson": json.dumps(document, separators=(",", ":")),
    }


def _statement(statement: Properties) -> dict[str, Any]:
    made: dict[str, Any] = {"Effect": statement.get("effect") or "Allow"}
    if statement.get("sid"):
        made["Sid"] = statement["sid"]
    for key, name in (
        ("actions", "Action"),
        ("notActions", "NotAction"),
        ("resources", "Resource"),
        ("notResources", "NotResource"),
    ):
        values = sorted(statement.get(key) or [])
        if values:
            made[name] = values[0] if len(values) == 1 else values
    for principal in statement.get("principals") or []:
        values = principal["identifiers"]
        made.setdefault("Principal", {})[principal["type"]] = values[0] if len(values) == 1 else values
    for condition in statement.get("conditions") or []:
        values = condition["values"]
        made.setdefault("Condition", {}).setdefault(condition["test"], {})[condition["variable"]] = (
            values[0] if len(values) == 1 else values
        )
    return made


FUNCTIONS: Mapping[str, Function] = {
    **ecs.FUNCTIONS,
    **vpc.FUNCTIONS,
    "aws:index/getCallerIdentity:getCallerIdentity": _caller_identity,
    "aws:index/getRegion:getRegion": _region,
    "aws:index/getPartition:getPartition": _partition,
    "aws:index/getDefaultTags:getDefaultTags": _default_tags,
    "aws:ec2/getSecurityGroup:getSecurityGroup": _security_group,
    "aws:ec2/getManagedPrefixList:getManagedPrefixList": _managed_prefix_list,
    "aws:ecr/getAuthorizationToken:getAuthorizationToken": _ecr_token,
    "aws:ecr/getCredentials:getCredentials": _ecr_credentials,
    "aws:route53/getZone:getZone": _hosted_zone,
    "aws:acm/getCertificate:getCertificate": _certificate,
    "aws:kms/getAlias:getAlias": _kms_alias,
    "aws:ssm/getParameter:getParameter": _ssm_parameter,
    "aws:iam/getPolicyDocument:getPolicyDocument": _policy_document,
}
