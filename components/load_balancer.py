"""The application load balancer in front of a service, with its target group, listeners, certificate and DNS record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import pulumi
import pulumi_aws as aws

from components.arguments import Between, Matching, check_fields, checked
from components.component import Children, Component, Options
from components.errors import ArgumentError, Mistake
from components.names import Name, name_tag
from components.network import Network
from components.overrides import Overrides
from components.place import Place
from components.uses import Port

TLS_POLICY = "ELBSecurityPolicy-TLS13-1-2-2021-06"
"""TLS 1.2 and 1.3 with forward secrecy.
https://docs.aws.amazon.com/elasticloadbalancing/latest/application/describe-ssl-policies.html"""

_HEALTH_INTERVAL_SECONDS = 10
_HEALTHY_AFTER = 2
_UNHEALTHY_AFTER = 3


IdleTimeout = Annotated[int, Between(1, 4000)]
"""Seconds that a connection may be silent.
https://docs.aws.amazon.com/elasticloadbalancing/latest/application/edit-load-balancer-attributes.html"""

DeregistrationDelay = Annotated[int, Between(0, 3600)]
"""Seconds that a target which is taken away has for its open requests.
https://docs.aws.amazon.com/elasticloadbalancing/latest/application/edit-target-group-attributes.html"""

UrlPath = Annotated[str, Matching(r"/[!-~]{0,1023}", "a path of up to 1,024 characters", "write it as '/healthcheck'")]
"""A path of requests. https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_CreateTargetGroup.html"""

_DOMAIN = r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+(?:[a-z]{2,63}|xn--[a-z0-9-]{1,59})"
_CERTIFICATE = r"arn:aws[a-z-]*:acm:([a-z0-9-]+):\d{12}:certificate/[0-9a-f-]+"
CERTIFICATE = Matching(
    f"|{_CERTIFICATE}",
    "the ARN of an ACM certificate",
    "write it as 'arn:aws:acm:us-east-1:123456789012:certificate/...', or give the certificate's arn",
)

Domain = Annotated[str, Matching(f"|{_DOMAIN}", "a lower-case domain name", "write it as 'files.example.com'")]


@dataclass(frozen=True, kw_only=True)
class Https:
    """How clients reach the load balancer by TLS. It switches HTTPS on, and HTTP to a redirect.

    `domain_name` in the Route 53 zone `hosted_zone_name` gets a record and, unless `certificate_arn` is given, a
    certificate validated there. With `certificate_arn` alone, or with the `domain_name` that clients use, the DNS record
    is made elsewhere. Raises ArgumentError when they do not go together.
    """

    domain_name: Domain = ""
    hosted_zone_name: Domain = ""
    certificate_arn: Annotated[pulumi.Input[str], CERTIFICATE] = ""

    def __post_init__(self) -> None:
        check_fields(self)
        problem = https_problem(self.domain_name, self.hosted_zone_name, has_certificate=self.certificate_arn != "")
        if problem is not None:
            allowed, remedy = problem
            names = ("domain_name", "hosted_zone_name", "certificate_arn")
            given = [getattr(self, name) for name in names]
            raise ArgumentError(
                "Https",
                Mistake(
                    name=", ".join(names),
                    value=", ".join(repr(value) if isinstance(value, str) else "an output" for value in given),
                    allowed=allowed,
                    remedy=remedy,
                ),
            )


def https_problem(domain_name: str, hosted_zone_name: str, *, has_certificate: bool) -> tuple[str, str] | None:
    """What is allowed in place of these, and a remedy; None when they go together. Empty is not given."""
    if hosted_zone_name and not f".{domain_name}".endswith(f".{hosted_zone_name}"):
        return (
            f"with a hosted zone, a domain name that lies in it: {hosted_zone_name} or one that ends in "
            f".{hosted_zone_name}",
            f"use the domain name files.{hosted_zone_name}, or leave the hosted zone out and make the record elsewhere",
        )
    if not has_certificate and not hosted_zone_name:
        zone = domain_name.partition(".")[2]
        return (
            "a certificate, or a domain name with the hosted zone that it lies in",
            f"add the hosted zone{f' {zone}' if zone else ''} or the certificate",
        )
    return None


class LoadBalancer(Component):
    """A public load balancer that forwards to `port` of whatever is registered in its target group.

    HTTP on 80 forwards; with `https`, 80 redirects and 443 forwards. `health_path` must answer 200. Its own
    connections to the targets close after `idle_timeout_seconds`; a target that is taken away has
    `deregistration_delay_seconds` for its open requests. `deletion_protection` is off: the load balancer holds
    nothing, and protecting it would make switching the service off two updates.
    """

    children: ClassVar[Children] = {
        "alb": "aws:lb/loadBalancer:LoadBalancer",
        "alb-access": "aws:ec2/securityGroup:SecurityGroup",
        "alb-from-http": "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule",
        "alb-from-https": "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule",
        "alias": "aws:route53/record:Record",
        "certificate": "aws:acm/certificate:Certificate",
        "certificate-proof": "aws:route53/record:Record",
        "certificate-validation": "aws:acm/certificateValidation:CertificateValidation",
        "http": "aws:lb/listener:Listener",
        "https": "aws:lb/listener:Listener",
        "tg": "aws:lb/targetGroup:TargetGroup",
    }

    @checked
    def __init__(
        self,
        name: Name,
        *,
        network: Network,
        port: Port,
        health_path: UrlPath,
        https: Https | None,
        idle_timeout_seconds: IdleTimeout,
        deregistration_delay_seconds: DeregistrationDelay,
        deletion_protection: bool = False,
        overrides: Overrides | None = None,
        opts: Options = None,
    ) -> None:
        super().__init__(name, overrides=overrides, opts=opts)
        self.security_group = self._security_group(network, https)
        self.balancer = aws.lb.LoadBalancer(
            f"{name}-alb",
            load_balancer_type="application",
            subnets=list(network.public_subnets.values()),
            security_groups=[self.security_group.id],
            idle_timeout=idle_timeout_seconds,
            # Headers that no parser agrees on are how requests get smuggled.
            drop_invalid_header_fields=True,
            enable_deletion_protection=deletion_protection,
            opts=self.options(),
        )
        self.target_group = self._target_group(network, port, health_path, deregistration_delay_seconds)
        self.healthy_seconds = _HEALTH_INTERVAL_SECONDS * max(_HEALTHY_AFTER, _UNHEALTHY_AFTER)
        self.listeners = self._listeners(https)
        self.url = self._url(https)
        self.finish({"url": self.url})

    def _security_group(self, network: Network, https: Https | None) -> aws.ec2.SecurityGroup:
        group = aws.ec2.SecurityGroup(
            f"{self.name}-alb-access",
            description="Load balancer",
            vpc_id=network.vpc_id,
            tags=name_tag(f"{self.name}-alb"),
            opts=self.options(),
        )
        for protocol, port in (("http", 80), ("https", 443))[: 2 if https else 1]:
            aws.vpc.SecurityGroupIngressRule(
                f"{self.name}-alb-from-{protocol}",
                security_group_id=group.id,
                description=f"Clients by {protocol.upper()}",
                ip_protocol="tcp",
                from_port=port,
                to_port=port,
                cidr_ipv4="0.0.0.0/0",
                opts=self.options(),
            )
        return group

    def _target_group(
        self, network: Network, port: int, health_path: str, deregistration_delay_seconds: int
    ) -> aws.lb.TargetGroup:
        return aws.lb.TargetGroup(
            # Never a name of its own: a replacement is created while the listener still uses the old one
            # (pulumi/pulumi#5900).
            f"{self.name}-tg",
            target_type="ip",
            protocol="HTTP",
            port=port,
            vpc_id=network.vpc_id,
            deregistration_delay=deregistration_delay_seconds,
            health_check=aws.lb.TargetGroupHealthCheckArgs(
                path=health_path,
                matcher="200",
                interval=_HEALTH_INTERVAL_SECONDS,
                timeout=5,
                healthy_threshold=_HEALTHY_AFTER,
                unhealthy_threshold=_UNHEALTHY_AFTER,
            ),
            opts=self.options(),
        )

    def _listeners(self, https: Https | None) -> tuple[aws.lb.Listener, ...]:
        forward = aws.lb.ListenerDefaultActionArgs(type="forward", target_group_arn=self.target_group.arn)
        redirect = aws.lb.ListenerDefaultActionArgs(
            type="redirect",
            redirect=aws.lb.ListenerDefaultActionRedirectArgs(port="443", protocol="HTTPS", status_code="HTTP_301"),
        )
        http = aws.lb.Listener(
            f"{self.name}-http",
            load_balancer_arn=self.balancer.arn,
            port=80,
            protocol="HTTP",
            default_actions=[redirect if https else forward],
            opts=self.options(),
        )
        if https is None:
            return (http,)
        secure = aws.lb.Listener(
            f"{self.name}-https",
            load_balancer_arn=self.balancer.arn,
            port=443,
            protocol="HTTPS",
            ssl_policy=TLS_POLICY,
            certificate_arn=self._given_certificate(https) if https.certificate_arn else self._certificate(https),
            default_actions=[forward],
            opts=self.options(),
        )
        return http, secure

    def _given_certificate(self, https: Https) -> pulumi.Output[str]:
        # Told as late as this, when other resources are registered already: the region is the provider's.
        return pulumi.Output.all(https.certificate_arn, Place.of(self).region).apply(
            lambda given: _checked_certificate(self.name, given[0], given[1])
        )

    def _certificate(self, https: Https) -> pulumi.Output[str]:
        certificate = aws.acm.Certificate(
            f"{self.name}-certificate",
            domain_name=https.domain_name,
            validation_method="DNS",
            tags=name_tag(self.name),
            opts=self.options(),
        )
        proof = certificate.domain_validation_options[0]
        record = aws.route53.Record(
            f"{self.name}-certificate-proof",
            zone_id=self._zone_id(https),
            name=proof.resource_record_name.apply(_present),
            type=proof.resource_record_type.apply(_present),
            records=[proof.resource_record_value.apply(_present)],
            ttl=60,
            # The proof is the same for each certificate of a domain: a replacement finds its predecessor's record.
            allow_overwrite=True,
            opts=self.options(),
        )
        return aws.acm.CertificateValidation(
            f"{self.name}-certificate-validation",
            certificate_arn=certificate.arn,
            validation_record_fqdns=[record.fqdn],
            opts=self.options(),
        ).certificate_arn

    def _url(self, https: Https | None) -> pulumi.Output[str]:
        if https is None:
            return pulumi.Output.concat("http://", self.balancer.dns_name)
        if https.hosted_zone_name:
            aws.route53.Record(
                f"{self.name}-alias",
                zone_id=self._zone_id(https),
                name=https.domain_name,
                type="A",
                aliases=[
                    aws.route53.RecordAliasArgs(
                        name=self.balancer.dns_name, zone_id=self.balancer.zone_id, evaluate_target_health=True
                    )
                ],
                opts=self.options(),
            )
        return pulumi.Output.concat("https://", https.domain_name or self.balancer.dns_name)

    def _zone_id(self, https: Https) -> pulumi.Output[str]:
        options = pulumi.InvokeOutputOptions(parent=self)
        return aws.route53.get_zone_output(name=https.hosted_zone_name, opts=options).zone_id


def _present(value: str | None) -> str:
    if value is None:
        raise ValueError("ACM gave no validation record")
    return value


def in_region(certificate_arn: str, region: str) -> bool:
    """Whether the certificate is ACM's in this region. ACM is regional, and so are load balancers.
    https://docs.aws.amazon.com/acm/latest/userguide/acm-regions.html"""
    return certificate_arn.split(":")[2:4] == ["acm", region]


def _checked_certificate(name: str, certificate_arn: str, region: str) -> str:
    if in_region(certificate_arn, region):
        return certificate_arn
    raise ArgumentError(
        f"LoadBalancer {name!r}",
        Mistake(
            name="certificate_arn",
            value=certificate_arn,
            allowed=f"a certificate of the load balancer's region, {region}",
            remedy=f"request or import the certificate in {region}, or leave it out: with a hosted zone one is made",
        ),
    )
