"""Every resource type that the stand-in keeps in the engine's state, one row each.

Ids, ARNs and names have the shapes that AWS gives them. `replaces` follows the provider's documentation ("forces new
resource"). What is created for real instead is in `real`, services are in
`ecs`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from local.providers.aws.kept import Row
from local.providers.aws.place import stable_hex
from local.providers.aws.revisions import next_revision
from local.providers.kind import AutoName

_NAMED = AutoName()


def _arn(service: str, resource: str) -> str:
    return f"arn:{{partition}}:{service}:{{region}}:{{account}}:{resource}"


def _ec2(kind: str) -> dict[str, Any]:
    return {"arn": _arn("ec2", f"{kind}/{{id}}"), "ownerId": "{account}"}


def _elb_suffix(values: Mapping[str, Any]) -> str:
    return str(values["arn"].rpartition(":")[2].removeprefix("loadbalancer/"))


def _revision(values: Mapping[str, Any]) -> int:
    return next_revision(str(values["i"]["family"]))


def _validation_options(values: Mapping[str, Any]) -> list[dict[str, str]]:
    inputs = values["i"]
    names = dict.fromkeys([inputs["domainName"], *(inputs["subjectAlternativeNames"] or [])])
    return [
        {
            "domainName": name,
            "resourceRecordName": f"_{stable_hex(name, 'name', length=32)}.{name.removeprefix('*.')}.",
            "resourceRecordType": "CNAME",
            "resourceRecordValue": f"_{stable_hex(name, 'value', length=32)}.acm-validations.aws.",
        }
        for name in names
    ]


def _fqdn(values: Mapping[str, Any]) -> str:
    return str(values["i"]["name"])


_RULE = Row(
    "sgr-{hex17}",
    {"arn": _arn("ec2", "security-group-rule/{id}"), "securityGroupRuleId": "{id}"},
    replaces="securityGroupId",
)
_FILE_SYSTEM_DNS = "{i[fileSystemId]}.efs.{region}.{dns_suffix}"

TABLE: Mapping[str, Row] = {
    # Network
    "aws:ec2/vpc:Vpc": Row(
        "vpc-{hex17}",
        _ec2("vpc")
        | {
            "defaultSecurityGroupId": "sg-{hex16}d",
            "defaultRouteTableId": "rtb-{hex16}d",
            "mainRouteTableId": "rtb-{hex16}d",
            "defaultNetworkAclId": "acl-{hex16}d",
            "dhcpOptionsId": "dopt-{hex16}d",
            "enableDnsSupport": lambda values: True,
            "instanceTenancy": "default",
        },
        replaces="cidrBlock ipv4IpamPoolId instanceTenancy",
    ),
    "aws:ec2/subnet:Subnet": Row(
        "subnet-{hex17}", _ec2("subnet"), replaces="vpcId cidrBlock availabilityZone availabilityZoneId"
    ),
    "aws:ec2/internetGateway:InternetGateway": Row("igw-{hex17}", _ec2("internet-gateway")),
    "aws:ec2/eip:Eip": Row(
        "eipalloc-{hex17}",
        {"allocationId": "{id}", "arn": _arn("ec2", "elastic-ip/{id}"), "publicIp": "203.0.113.10", "publicDns": ""},
        replaces="domain networkBorderGroup publicIpv4Pool",
    ),
    "aws:ec2/natGateway:NatGateway": Row(
        "nat-{hex17}",
        {"publicIp": "203.0.113.10", "privateIp": "10.0.0.10", "networkInterfaceId": "eni-{hex17}"},
        replaces="allocationId subnetId connectivityType",
    ),
    "aws:ec2/routeTable:RouteTable": Row("rtb-{hex17}", _ec2("route-table"), replaces="vpcId"),
    "aws:ec2/route:Route": Row(
        "r-{i[routeTableId]}{hex8}",
        {"origin": "CreateRoute", "state": "active"},
        replaces="routeTableId destinationCidrBlock destinationIpv6CidrBlock destinationPrefixListId",
        taggable=False,
    ),
    "aws:ec2/routeTableAssociation:RouteTableAssociation": Row(
        "rtbassoc-{hex17}", replaces="subnetId gatewayId", taggable=False
    ),
    "aws:ec2/vpcEndpoint:VpcEndpoint": Row(
        "vpce-{hex17}",
        _ec2("vpc-endpoint") | {"state": "available", "prefixListId": "pl-{hex8}", "cidrBlocks": lambda values: []},
        replaces="vpcId serviceName vpcEndpointType",
    ),
    "aws:ec2/flowLog:FlowLog": Row("fl-{hex17}", {"arn": _arn("ec2", "vpc-flow-log/{id}")}),
    "aws:ec2/securityGroup:SecurityGroup": Row(
        "sg-{hex17}",
        _ec2("security-group"),
        replaces="name namePrefix description vpcId",
        auto_name=AutoName(longest=255),
    ),
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": _RULE,
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule": _RULE,
    "aws:ec2/securityGroupRule:SecurityGroupRule": Row(
        "sgrule-{hex8}", replaces="securityGroupId type protocol fromPort toPort cidrBlocks", taggable=False
    ),
    "aws:ec2/launchTemplate:LaunchTemplate": Row(
        "lt-{hex17}",
        {
            "arn": _arn("ec2", "launch-template/{id}"),
            "latestVersion": lambda values: 1,
            "defaultVersion": lambda values: 1,
        },
        replaces="name namePrefix",
        auto_name=AutoName(longest=128),
    ),
    "aws:autoscaling/group:Group": Row(
        "{i[name]}",
        {"arn": _arn("autoscaling", "autoScalingGroup:{uuid}:autoScalingGroupName/{i[name]}")},
        replaces="name namePrefix",
        auto_name=_NAMED,
        taggable=False,
    ),
    # Containers
    "aws:ecs/cluster:Cluster": Row(
        "arn:{partition}:ecs:{region}:{account}:cluster/{i[name]}", {"arn": "{id}"}, replaces="name", auto_name=_NAMED
    ),
    "aws:ecs/clusterCapacityProviders:ClusterCapacityProviders": Row(
        "{i[clusterName]}", replaces="clusterName", taggable=False
    ),
    "aws:ecs/capacityProvider:CapacityProvider": Row(
        "arn:{partition}:ecs:{region}:{account}:capacity-provider/{i[name]}",
        {"arn": "{id}"},
        replaces="name",
        auto_name=_NAMED,
    ),
    "aws:ecs/taskDefinition:TaskDefinition": Row(
        "{i[family]}",
        {
            "revision": _revision,
            "arnWithoutRevision": _arn("ecs", "task-definition/{i[family]}"),
            "arn": _arn("ecs", "task-definition/{i[family]}:{revision}"),
        },
        replaces=(
            "containerDefinitions cpu ephemeralStorage executionRoleArn family ipcMode memory networkMode pidMode "
            "placementConstraints proxyConfiguration requiresCompatibilities runtimePlatform taskRoleArn volumes "
            "enableFaultInjection"
        ),
    ),
    "aws:ecr/repository:Repository": Row(
        "{i[name]}",
        {
            "arn": _arn("ecr", "repository/{i[name]}"),
            "registryId": "{account}",
            "repositoryUrl": "{account}.dkr.ecr.{region}.{dns_suffix}/{i[name]}",
        },
        replaces="name encryptionConfigurations",
        auto_name=AutoName(longest=256, lower=True),
    ),
    "aws:ecr/lifecyclePolicy:LifecyclePolicy": Row(
        "{i[repository]}", {"registryId": "{account}"}, replaces="repository", taggable=False
    ),
    "aws:ecr/repositoryPolicy:RepositoryPolicy": Row(
        "{i[repository]}", {"registryId": "{account}"}, replaces="repository", taggable=False
    ),
    # Load balancing. A target group's name is at most 32 characters, a load balancer's too.
    "aws:lb/loadBalancer:LoadBalancer": Row(
        "arn:{partition}:elasticloadbalancing:{region}:{account}:loadbalancer/app/{i[name]}/{hex16}",
        {
            "arn": "{id}",
            "arnSuffix": _elb_suffix,
            "dnsName": "{i[name]}-{hex8}.{region}.elb.{dns_suffix}",
            "zoneId": "Z35SXDOTRQ7X7K",
            "vpcId": "",
        },
        replaces="name namePrefix internal loadBalancerType",
        auto_name=AutoName(longest=32),
    ),
    "aws:lb/targetGroup:TargetGroup": Row(
        "arn:{partition}:elasticloadbalancing:{region}:{account}:targetgroup/{i[name]}/{hex16}",
        {"arn": "{id}", "arnSuffix": _elb_suffix, "loadBalancerArns": lambda values: []},
        replaces="name namePrefix port protocol protocolVersion targetType vpcId ipAddressType",
        auto_name=AutoName(longest=32),
    ),
    "aws:lb/listener:Listener": Row(
        "arn:{partition}:elasticloadbalancing:{region}:{account}:listener/app/{hex16}/{hex8}",
        {"arn": "{id}"},
        replaces="loadBalancerArn",
    ),
    "aws:lb/listenerRule:ListenerRule": Row(
        "arn:{partition}:elasticloadbalancing:{region}:{account}:listener-rule/app/{hex16}/{hex8}",
        {"arn": "{id}"},
        replaces="listenerArn",
    ),
    "aws:lb/listenerCertificate:ListenerCertificate": Row(
        "{i[listenerArn]}_{i[certificateArn]}", replaces="listenerArn certificateArn", taggable=False
    ),
    "aws:acm/certificate:Certificate": Row(
        "arn:{partition}:acm:{region}:{account}:certificate/{uuid}",
        {"arn": "{id}", "domainValidationOptions": _validation_options, "status": "ISSUED", "type": "AMAZON_ISSUED"},
        replaces="domainName subjectAlternativeNames validationMethod keyAlgorithm",
    ),
    "aws:acm/certificateValidation:CertificateValidation": Row(
        "{uuid}", replaces="certificateArn validationRecordFqdns", taggable=False
    ),
    "aws:route53/record:Record": Row(
        "{i[zoneId]}_{i[name]}_{i[type]}", {"fqdn": _fqdn}, replaces="zoneId name type setIdentifier", taggable=False
    ),
    "aws:route53/zone:Zone": Row(
        "Z{hex16}",
        {
            "arn": "arn:{partition}:route53:::hostedzone/{id}",
            "zoneId": "{id}",
            "nameServers": lambda values: [f"ns-{n}.awsdns-0{n}.example" for n in range(1, 5)],
        },
        replaces="name",
    ),
    "aws:wafv2/webAclAssociation:WebAclAssociation": Row("{uuid}", replaces="resourceArn webAclArn", taggable=False),
    # Files
    "aws:efs/fileSystem:FileSystem": Row(
        "fs-{hex17}",
        {
            "arn": _arn("elasticfilesystem", "file-system/{id}"),
            "dnsName": "{id}.efs.{region}.{dns_suffix}",
            "ownerId": "{account}",
            "numberOfMountTargets": lambda values: 0,
            "creationToken": "{uuid}",
            "performanceMode": "generalPurpose",
        },
        replaces="availabilityZoneName creationToken encrypted kmsKeyId performanceMode",
    ),
    "aws:efs/mountTarget:MountTarget": Row(
        "fsmt-{hex17}",
        {
            "fileSystemArn": _arn("elasticfilesystem", "file-system/{i[fileSystemId]}"),
            "dnsName": _FILE_SYSTEM_DNS,
            "mountTargetDnsName": "{region}a." + _FILE_SYSTEM_DNS,
            "availabilityZoneName": "{region}a",
            "networkInterfaceId": "eni-{hex17}",
            "ownerId": "{account}",
            "ipAddress": "10.0.0.20",
        },
        replaces="fileSystemId subnetId ipAddress",
        taggable=False,
    ),
    "aws:efs/accessPoint:AccessPoint": Row(
        "fsap-{hex17}",
        {
            "arn": _arn("elasticfilesystem", "access-point/{id}"),
            "fileSystemArn": _arn("elasticfilesystem", "file-system/{i[fileSystemId]}"),
            "ownerId": "{account}",
        },
        replaces="fileSystemId posixUser rootDirectory",
    ),
    "aws:efs/backupPolicy:BackupPolicy": Row("{i[fileSystemId]}", replaces="fileSystemId", taggable=False),
    "aws:efs/fileSystemPolicy:FileSystemPolicy": Row("{i[fileSystemId]}", replaces="fileSystemId", taggable=False),
    # Scaling, schedules, alarms
    "aws:appautoscaling/target:Target": Row(
        "{i[resourceId]}",
        {"arn": _arn("application-autoscaling", "scalable-target/{hex16}")},
        replaces="resourceId scalableDimension serviceNamespace",
    ),
    "aws:appautoscaling/policy:Policy": Row(
        "{i[name]}",
        {"arn": _arn("autoscaling", "scalingPolicy:{uuid}:policyName/{i[name]}"), "alarmArns": lambda values: []},
        replaces="name resourceId scalableDimension serviceNamespace",
        auto_name=_NAMED,
        taggable=False,
    ),
    "aws:appautoscaling/scheduledAction:ScheduledAction": Row(
        "{i[name]}-{i[serviceNamespace]}-{i[resourceId]}",
        {"arn": _arn("autoscaling", "scheduledAction:{uuid}:scheduledActionName/{i[name]}")},
        replaces="name resourceId serviceNamespace",
        auto_name=_NAMED,
        taggable=False,
    ),
    "aws:scheduler/schedule:Schedule": Row(
        "default/{i[name]}",
        {"groupName": "default", "arn": _arn("scheduler", "schedule/{groupName}/{i[name]}")},
        replaces="name namePrefix groupName",
        auto_name=AutoName(longest=64),
        taggable=False,
    ),
    "aws:scheduler/scheduleGroup:ScheduleGroup": Row(
        "{i[name]}",
        {"arn": _arn("scheduler", "schedule-group/{i[name]}"), "state": "ACTIVE"},
        replaces="name namePrefix",
        auto_name=AutoName(longest=64),
    ),
    "aws:cloudwatch/metricAlarm:MetricAlarm": Row(
        "{i[name]}", {"arn": _arn("cloudwatch", "alarm:{i[name]}")}, replaces="name", auto_name=_NAMED
    ),
    "aws:cloudwatch/dashboard:Dashboard": Row(
        "{i[dashboardName]}",
        {"dashboardArn": "arn:{partition}:cloudwatch::{account}:dashboard/{i[dashboardName]}"},
        replaces="dashboardName",
        taggable=False,
    ),
    "aws:cloudwatch/logMetricFilter:LogMetricFilter": Row(
        "{i[name]}", replaces="name logGroupName", auto_name=_NAMED, taggable=False
    ),
    "aws:cloudwatch/eventRule:EventRule": Row(
        "{i[name]}",
        {"arn": _arn("events", "rule/{i[name]}")},
        replaces="name namePrefix",
        auto_name=AutoName(longest=64),
    ),
    "aws:cloudwatch/eventTarget:EventTarget": Row(
        "{i[rule]}-{hex16}", {"targetId": "{hex16}"}, replaces="rule targetId", taggable=False
    ),
    # Keys, application registry
    "aws:kms/key:Key": Row(
        "{uuid}", {"arn": _arn("kms", "key/{id}"), "keyId": "{id}"}, replaces="customerMasterKeySpec"
    ),
    "aws:kms/alias:Alias": Row(
        "{i[name]}",
        {"arn": _arn("kms", "{i[name]}"), "targetKeyArn": _arn("kms", "key/{i[targetKeyId]}")},
        replaces="name namePrefix",
        auto_name=AutoName(longest=256),
        taggable=False,
    ),
    "aws:servicecatalog/appregistryApplication:AppregistryApplication": Row(
        "{hex17}",
        {
            "arn": _arn("servicecatalog", "/applications/{id}"),
            "applicationTag": lambda values: {
                "awsApplication": f"arn:{values['partition']}:resource-groups:{values['region']}:{values['account']}:"
                f"group/{values['i']['name']}/{values['id']}"
            },
        },
        replaces="name",
        auto_name=AutoName(longest=256),
    ),
}
