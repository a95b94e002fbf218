from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pulumi
import pulumi_aws as aws
import pytest

from components import ArgumentError, Https
from components.load_balancer import LoadBalancer
from tests.components import parts
from tests.components.deployment import Deployment, deploy, deploy_twice

DOMAIN = Https(domain_name="files.example.com", hosted_zone_name="example.com")
CERTIFICATE = Https(certificate_arn="arn:aws:acm:eu-west-1:123456789012:certificate/1")


def _program(https: Https | None) -> Callable[[], None]:
    def program() -> None:
        balancer = LoadBalancer(
            "api",
            network=parts.network(vpc="own", nat_gateways="single"),
            port=8080,
            health_path="/healthcheck",
            https=https,
            idle_timeout_seconds=60,
            deregistration_delay_seconds=45,
        )
        pulumi.export("url", balancer.url)

    return program


def _deployed(https: Https | None) -> Deployment:
    return deploy_twice(_program(https))


@pytest.fixture(scope="module")
def plain() -> Deployment:
    return _deployed(None)


@pytest.fixture(scope="module")
def secure() -> Deployment:
    return _deployed(DOMAIN)


def _listener(deployment: Deployment, name: str) -> dict[str, Any]:
    return deployment.one(":Listener", name).inputs


def test_it_is_public_drops_doubtful_headers_and_can_be_switched_off_in_one_update(plain: Deployment) -> None:
    balancer = plain.one("aws:lb/loadBalancer:LoadBalancer").inputs
    assert balancer["subnets"] == ["network-public-eu-west-1a-id", "network-public-eu-west-1b-id"]
    assert balancer["dropInvalidHeaderFields"] is True
    assert balancer["idleTimeout"] == 60
    assert balancer["enableDeletionProtection"] is False


def test_targets_are_addresses_checked_at_the_health_path(plain: Deployment) -> None:
    group = plain.one(":TargetGroup").inputs
    assert (group["targetType"], group["protocol"], group["port"]) == ("ip", "HTTP", 8080)
    assert group["deregistrationDelay"] == 45
    assert (group["healthCheck"]["path"], group["healthCheck"]["matcher"]) == ("/healthcheck", "200")
    assert group["healthCheck"]["timeout"] < group["healthCheck"]["interval"]


def test_plain_http_is_forwarded(plain: Deployment) -> None:
    assert plain.names(":Listener") == ["api-http"]
    listener = _listener(plain, "api-http")
    assert (listener["port"], listener["protocol"]) == (80, "HTTP")
    assert listener["defaultActions"] == [
        {"type": "forward", "targetGroupArn": "arn:aws:elasticloadbalancing:eu-west-1:123456789012:api-tg-1a2b3c4"}
    ]
    assert plain.outputs["url"] == "http://api-alb-1a2b3c4.eu-west-1.elb.amazonaws.com"


def test_trap_61_with_https_one_listener_redirects_and_the_other_forwards(secure: Deployment) -> None:
    (redirect,) = _listener(secure, "api-http")["defaultActions"]
    assert redirect == {
        "type": "redirect",
        "redirect": {"port": "443", "protocol": "HTTPS", "statusCode": "HTTP_301"},
    }
    listener = _listener(secure, "api-https")
    assert (listener["port"], listener["protocol"]) == (443, "HTTPS")
    assert listener["sslPolicy"] == "ELBSecurityPolicy-TLS13-1-2-2021-06"
    assert [action["type"] for action in listener["defaultActions"]] == ["forward"]
    assert secure.outputs["url"] == "https://files.example.com"


def test_the_listener_waits_for_the_certificate_to_be_proved(secure: Deployment) -> None:
    proof = secure.one(":Record", "api-certificate-proof").inputs
    assert (proof["name"], proof["type"]) == ("_proof.files.example.com.", "CNAME")
    assert proof["records"] == ["_proof.acm-validations.aws."]
    assert proof["allowOverwrite"] is True
    validation = secure.one(":CertificateValidation")
    assert _listener(secure, "api-https")["certificateArn"] == validation.inputs["certificateArn"]
    assert (
        "aws:acm/certificateValidation:CertificateValidation::api-certificate-validation"
        in secure.one(":Listener", "api-https").depends_on
    )


def test_the_domain_leads_to_the_load_balancer(secure: Deployment) -> None:
    record = secure.one(":Record", "api-alias").inputs
    assert (record["name"], record["type"], record["zoneId"]) == ("files.example.com", "A", "Z0PUBLIC")
    (alias,) = record["aliases"]
    assert alias["name"] == "api-alb-1a2b3c4.eu-west-1.elb.amazonaws.com"


def test_a_certificate_that_exists_is_used_and_no_record_is_made() -> None:
    deployment = _deployed(CERTIFICATE)
    assert _listener(deployment, "api-https")["certificateArn"] == CERTIFICATE.certificate_arn
    assert not deployment.all(":Record") and not deployment.all(":Certificate")
    assert deployment.outputs["url"].startswith("https://api-alb-")


@pytest.mark.parametrize(("https", "ports"), [(None, {80}), (DOMAIN, {80, 443})])
def test_clients_get_in_at_the_listeners_ports_alone(https: Https | None, ports: set[int]) -> None:
    rules = [rule.inputs for rule in _deployed(https).all(":SecurityGroupIngressRule")]
    assert {rule["fromPort"] for rule in rules} == {rule["toPort"] for rule in rules} == ports
    assert {rule["ipProtocol"] for rule in rules} == {"tcp"}


@pytest.mark.parametrize(
    ("arguments", "remedy"),
    [
        ({}, "add the hosted zone or the certificate"),
        ({"domain_name": "files.example.com"}, "add the hosted zone example.com or the certificate"),
        ({"hosted_zone_name": "example.com"}, "use the domain name files.example.com"),
        # A record without a name, and one outside its zone.
        ({"hosted_zone_name": "example.com", "certificate_arn": CERTIFICATE.certificate_arn}, "files.example.com"),
        ({"domain_name": "files.example.org", "hosted_zone_name": "example.com"}, "files.example.com"),
        ({"domain_name": "badexample.com", "hosted_zone_name": "example.com"}, "files.example.com"),
    ],
)
def test_what_makes_up_no_certificate_or_no_record_is_an_error(arguments: dict[str, str], remedy: str) -> None:
    with pytest.raises(ArgumentError, match=f"remedy: .*{remedy}"):
        Https(**arguments)


@pytest.mark.parametrize("preview", [False, True])
def test_a_certificate_of_another_region_is_an_error(preview: bool) -> None:
    elsewhere = Https(certificate_arn="arn:aws:acm:us-east-1:123456789012:certificate/0a1b")
    with pytest.raises(ArgumentError, match="a certificate of the load balancer's region, eu-west-1"):
        deploy(_program(elsewhere), preview=preview)


def test_a_certificate_of_the_program_s_own_is_taken() -> None:
    def program() -> None:
        made = aws.acm.Certificate("own", domain_name="files.example.com", validation_method="DNS")
        parts.api(https=Https(certificate_arn=made.arn))

    assert _listener(deploy(program), "api-https")["certificateArn"].endswith(":acm:eu-west-1:123456789012:own-1a2b3c4")
