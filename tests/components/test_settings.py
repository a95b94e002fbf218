from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pulumi
import pytest
import yaml

from components import ConfigurationError, Settings, Size
from components.configuration import schema
from tests.components.deployment import deploy

ROOT = Path(__file__).parents[2]
PROJECT_FILE = yaml.safe_load((ROOT / "Pulumi.yaml").read_text())
STACKS = ("local", "staging", "prod")


def load(config: Mapping[str, str] | None = None, secrets: Mapping[str, str] | None = None) -> Settings:
    loaded: list[Settings] = []
    deploy(lambda: loaded.append(Settings.load()), config=config, secrets=secrets)
    return loaded[0]


def mistakes(config: Mapping[str, str], secrets: Mapping[str, str] | None = None) -> dict[str, str]:
    with pytest.raises(ConfigurationError) as caught:
        load(config, secrets)
    return {
        mistake.name: f"{mistake.value} | {mistake.allowed} | {mistake.remedy}" for mistake in caught.value.mistakes
    }


def test_pulumi_yaml_describes_and_types_every_key_as_the_settings_do() -> None:
    assert PROJECT_FILE["config"] == schema(Settings)


def test_the_defaults_are_a_valid_configuration() -> None:
    defaults = {
        key: str(spec["default"]).lower() if spec["type"] == "boolean" else str(spec["default"])
        for key, spec in PROJECT_FILE["config"].items()
    }
    assert load(defaults) == load() == Settings()


@pytest.mark.parametrize("stack", STACKS)
def test_the_stack_files_name_a_region_and_hold_no_secret(stack: str) -> None:
    text = (ROOT / f"Pulumi.{stack}.yaml").read_text()
    content = yaml.safe_load(text)
    assert list(content) == ["config"]
    assert content["config"]["aws:region"]
    assert "secure" not in text


def test_four_mistakes_are_told_at_once_each_with_its_key_value_and_what_is_allowed() -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(
            {
                "apiCpus": "512",
                "apiCpu": "512",
                "apiMemory": "512",
                "workerMinTasks": "5",
                "workerMaxTasks": "2",
                "sweepSchedule": "every hour",
            }
        )
    text = str(caught.value)
    assert "4 mistakes. Nothing was deployed." in text
    for part in (
        "apiCpus: 512",
        "did you mean apiCpu?",
        "apiCpu, apiMemory: cpu 512 with memory 512",
        "memory is 1024 to 4096 in steps of 1024",
        "nearest: cpu 512 with memory 1024 or cpu 256 with memory 512",
        "workerMinTasks, workerMaxTasks: 5, 2",
        "workerMinTasks not above workerMaxTasks",
        "sweepSchedule: every hour",
        "rate(1 hour), cron(0 3 * * ? *) or at(2030-01-31T03:00:00)",
    ):
        assert part in text


def test_a_configuration_error_ends_the_program_without_a_traceback_and_before_any_resource() -> None:
    registered: list[str] = []

    def program() -> None:
        Settings.load()
        registered.append("too late")

    with pytest.raises(pulumi.RunError):
        deploy(program, config={"vpc": ""})
    assert registered == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("production", "yes"),
        ("vpc", " own"),
        ("vpcCidr", "10.0.0.0/24"),
        ("vpcCidr", "10.0.0.1/16"),
        ("availabilityZones", "1"),
        ("availabilityZones", "two"),
        ("natGateways", "2"),
        ("imagePlatform", "amd64"),
        ("imageBase", "python 3"),
        ("tracingEndpoint", "http://collector.example.com:4318"),
        ("apiMinTasks", "0"),
        ("apiMaxTasks", "1e3"),
        ("apiCpuTarget", "95"),
        ("apiRequestsPerTask", "0"),
        ("filesAuth", "basic"),
        ("filesMaxBytes", "-1"),
        ("domainName", "Files.Example.com"),
        ("certificateArn", "arn:aws:iam::123456789012:server-certificate/x"),
        ("workerSpotPercent", "101"),
        ("sweepState", "ENABLED"),
        ("sweepTimezone", "Europe/Nowhere"),
        ("logRetentionDays", "31"),
    ],
)
def test_a_value_that_is_not_allowed_is_told_with_what_is(key: str, value: str) -> None:
    found = mistakes({key: value})
    assert key in found
    shown, allowed, remedy = found[key].split(" | ")
    assert shown == value and allowed and f"pulumi config set {key}" in remedy


def test_a_bad_schedule_says_what_is_wrong_with_it() -> None:
    assert "the unit after 1 is minute, hour or day" in mistakes({"sweepSchedule": "rate(1 hours)"})["sweepSchedule"]


@pytest.mark.parametrize(
    ("config", "names"),
    [
        ({"apiMinTasks": "3", "apiMaxTasks": "2"}, "apiMinTasks, apiMaxTasks"),
        ({"workerCpu": "300"}, "workerCpu, workerMemory"),
        ({"natGateways": "single"}, "vpc, natGateways"),
        ({"domainName": "files.example.com"}, "domainName, hostedZoneName, certificateArn"),
        ({"hostedZoneName": "example.com"}, "domainName, hostedZoneName, certificateArn"),
        (
            {"domainName": "files.example.org", "hostedZoneName": "example.com"},
            "domainName, hostedZoneName, certificateArn",
        ),
        (
            {"domainName": "badexample.com", "hostedZoneName": "example.com"},
            "domainName, hostedZoneName, certificateArn",
        ),
    ],
)
def test_values_that_do_not_go_together_are_one_mistake(config: dict[str, str], names: str) -> None:
    assert list(mistakes(config)) == [names]


def test_a_value_that_is_wrong_by_itself_is_not_told_a_second_time() -> None:
    assert list(mistakes({"apiMinTasks": "0", "apiMaxTasks": "-1"})) == ["apiMinTasks", "apiMaxTasks"]


def test_a_secret_is_never_shown() -> None:
    token = "short-token"
    for config, secrets in (
        ({"apiToken": "a-token-in-plain-text"}, {}),
        ({}, {"apiToken": token}),
        ({}, {"apiTokens": token}),
        ({}, {"vpcCidr": token}),
    ):
        found = json.dumps(mistakes(config, secrets))
        assert "secret, not shown" in found
        assert token not in found and "plain-text" not in found
    settings = load(secrets={"apiToken": "a-token-of-sixteen-or-more"})
    assert "sixteen" not in repr(settings) and "(secret)" in repr(settings)


def test_a_token_in_plain_text_is_refused_with_the_command_that_encrypts_it() -> None:
    assert "pulumi config set --secret apiToken" in mistakes({"apiToken": "a-token-in-plain-text"})["apiToken"]


def test_an_encrypted_token_becomes_a_secret_output() -> None:
    def program() -> None:
        pulumi.export("token", Settings.load().token)

    deployment = deploy(program, secrets={"apiToken": "a-token-of-sixteen-or-more"})
    assert "a-token-of-sixteen-or-more" in str(deployment.outputs["token"])
    assert load().token is None


def test_keys_of_other_namespaces_are_left_alone() -> None:
    assert load({"aws:region": "us-east-1", "other:apiCpus": "1", "pulumi:tags": "{}"}) == Settings()


def test_the_sweep_runs_in_production_unless_said_otherwise() -> None:
    assert not Settings().sweep_enabled
    assert Settings(production=True).sweep_enabled
    assert not Settings(production=True, sweep_state="disabled").sweep_enabled
    assert Settings(sweep_state="enabled").sweep_enabled


def test_https_is_on_with_a_domain_or_a_certificate() -> None:
    assert Settings().https is None
    assert Settings(domain_name="a.b.example", hosted_zone_name="b.example").https is not None
    assert Settings(certificate_arn="arn:aws:acm:eu-west-1:123456789012:certificate/1").https is not None


def test_sizes_come_in_pairs() -> None:
    assert Settings(api_cpu=1024, api_memory=2048).api_size == Size(cpu=1024, memory=2048)
    assert Settings(worker_message_milliseconds=250).worker_message_seconds == 0.25
