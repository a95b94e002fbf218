from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import get_args

import pulumi
import pytest
import yaml

from components import ConfigurationError, Mistake, Size, configuration_schema
from components.backlog import MessageSeconds
from settings import Settings
from tests.components.deployment import PROJECT, Deployment, deploy

ROOT = Path(__file__).parents[1]
PROJECT_FILE = yaml.safe_load((ROOT / "Pulumi.yaml").read_text())
STACKS = ("local", "staging", "prod")


REGION = {"aws:region": "us-east-1"}
NOT_SHOWN = "(not shown: it may be a secret)"

# Of each key: a value of another type, one out of its range, and nonsense. None where no such value is wrong.
SWITCH = ("2", "yes", '{"on": true}')
WRONG: Mapping[str, tuple[str | None, str | None, str]] = {
    "production": SWITCH,
    "vpc": ('["own"]', "", " own"),
    "vpcCidr": ("16", "10.0.0.0/24", "10.0.0.1/16"),
    "availabilityZones": ("two", "1", "2.5"),
    "natGateways": ("2", "double", '{"per": "az"}'),
    "imagePlatform": ("64", "linux/s390x", "amd64"),
    "imageBase": ('["python"]', None, "python 3"),
    "tracingEndpoint": ("4318", "http://collector.example.com", "https://user:password@collector.example.com"),
    "apiEnabled": SWITCH,
    "apiCpu": ("lots", "300", "256 units"),
    "apiMemory": ("1 GB", "600", "[1024]"),
    "apiMinTasks": ("one", "0", "1e0"),
    "apiMaxTasks": ("true", "1001", ""),
    "apiCpuTarget": ("60%", "95", "0x3c"),
    "apiRequestsPerTask": ("many", "0", "null"),
    "apiToken": ('["a-token-of-sixteen-or-more"]', "too-short", "a token with spaces in it"),
    "filesAuth": ("true", "basic", "Token"),
    "filesMaxBytes": ("5 GiB", "-1", "99999999999999999999"),
    "domainName": ("1", "localhost", "https://files.example.com/"),
    "hostedZoneName": ('["example.com"]', "com", "Example.com."),
    "certificateArn": ("1", "arn:aws:iam::123456789012:server-certificate/x", "certificate"),
    "workerCpu": ("1 vCPU", "0", "-256"),
    "workerMemory": ("half", "100", "{}"),
    "workerMinTasks": ("none", "-1", "0.5"),
    "workerMaxTasks": ("false", "0", "four"),
    "workerLatencySeconds": ("1m", "86401", "1:00"),
    "workerMessageMilliseconds": ("0.5", "0", "10ms"),
    "workerSpotPercent": ("half", "101", "50%"),
    "sweepState": ("true", "on", "ENABLED"),
    "sweepSchedule": ("60", "rate(0 minutes)", "every hour"),
    "sweepTimezone": ("0", "Europe/Nowhere", "../etc/passwd"),
    "logRetentionDays": ("forever", "31", "30d"),
}


def evaluate(config: Mapping[str, str], secrets: Mapping[str, str] | None = None, stack: str = "test") -> Settings:
    loaded: list[Settings] = []
    deploy(lambda: loaded.append(Settings.load()), config=config, secrets=secrets, stack=stack)
    return loaded[0]


def load(config: Mapping[str, str] | None = None, secrets: Mapping[str, str] | None = None) -> Settings:
    return evaluate({**REGION, **(config or {})}, secrets)


def errors(
    config: Mapping[str, str], secrets: Mapping[str, str] | None = None, stack: str = "test"
) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as caught:
        evaluate({**REGION, **config}, secrets, stack)
    return caught.value


def mistakes(config: Mapping[str, str], secrets: Mapping[str, str] | None = None) -> dict[str, str]:
    return {
        mistake.name: f"{mistake.value} | {mistake.allowed} | {mistake.remedy}"
        for mistake in errors(config, secrets).mistakes
    }


def test_pulumi_yaml_describes_every_key_as_the_settings_do() -> None:
    # A key of somebody's own may stand beside them.
    described = {name: PROJECT_FILE["config"].get(name) for name in configuration_schema(Settings)}
    assert described == configuration_schema(Settings)


def test_the_defaults_are_a_valid_configuration() -> None:
    defaults = {
        key: str(spec["default"]).lower() if isinstance(spec["default"], bool) else str(spec["default"])
        for key, spec in configuration_schema(Settings).items()
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
        f"apiCpus: {NOT_SHOWN}",
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


def test_every_key_has_values_that_are_wrong() -> None:
    # A key without a check has none.
    assert set(WRONG) == set(configuration_schema(Settings))


@pytest.mark.parametrize("kind", range(3), ids=("of another type", "out of range", "nonsense"))
def test_a_wrong_value_of_every_key_is_told_with_all_others_before_anything_is_registered(kind: int) -> None:
    config = {key: value for key, values in WRONG.items() if (value := values[kind]) is not None}
    deployments: list[Deployment] = []

    def program() -> None:
        Settings.load()
        deployments.append(Deployment())

    with pytest.raises(ConfigurationError) as caught:
        deploy(program, config={**config, "apiTokn": "not-to-be-seen", "aws:regoin": "not-to-be-seen"})
    assert deployments == []
    found = {name: mistake for mistake in caught.value.mistakes for name in mistake.name.split(", ")}
    assert set(found) == {*config, "apiTokn", "aws:regoin", "aws:region"}
    for key, value in config.items():
        _is_told(found[key], value)
    assert "not-to-be-seen" not in str(caught.value)


def _is_told(mistake: Mistake, value: str) -> None:
    assert all((mistake.name, mistake.value, mistake.allowed, mistake.remedy))
    first, allowed, remedy = str(mistake).splitlines()
    assert first.startswith(f"{mistake.name}: ")
    assert allowed.startswith("    allowed: ") and remedy.startswith("    remedy: ")
    if mistake.name in ("apiToken", "tracingEndpoint") or value[:1] in tuple("[{"):
        assert "not shown" in first and value not in str(mistake)
    else:
        assert (value or "(empty)") in first
    # A command that mends it, or the nearest values of those that go together.
    assert re.search(r"pulumi config set (--secret )?\w+|nearest: |lower |raise ", remedy)


def test_a_bad_schedule_says_what_is_allowed_once() -> None:
    assert mistakes({"sweepSchedule": "every hour"})["sweepSchedule"].count("rate(") == 2  # allowed, and the remedy
    assert "the unit after 1 is minute, hour or day" in mistakes({"sweepSchedule": "rate(1 hours)"})["sweepSchedule"]


@pytest.mark.parametrize(
    ("config", "names"),
    [
        ({"apiMinTasks": "3", "apiMaxTasks": "2"}, "apiMinTasks, apiMaxTasks"),
        ({"workerCpu": "512", "workerMemory": "512"}, "workerCpu, workerMemory"),
        ({"natGateways": "single"}, "vpc, natGateways"),
        ({"vpcCidr": "10.1.0.0/16"}, "vpc, vpcCidr"),
        ({"certificateArn": "arn:aws:acm:eu-west-1:123456789012:certificate/0a"}, "certificateArn"),
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
        ({"apiTokn": token}, {}),
        ({"ecs-file-ingst:apiToken": token}, {}),
        ({"aws:secretKye": token}, {}),
        ({"vpc": json.dumps({"name": token})}, {}),
        # What a rule says is allowed in its place has a part of the value in it.
        ({}, {"sweepSchedule": f"cron({token} 3 * * ? *)"}),
        # What does not go together: the mistake is made of both values.
        ({"hostedZoneName": "example.com"}, {"domainName": f"{token}.example.org"}),
        ({}, {"domainName": f"{token}.example.org"}),
        ({"tracingEndpoint": f"https://me:{token}@collector.example.com"}, {}),
        ({"tracingEndpoint": f"https://collector.example.com/v1?key={token}"}, {}),
    ):
        found = json.dumps(mistakes(config, secrets))
        assert "not shown" in found
        assert token not in found and "plain-text" not in found
    settings = load(secrets={"apiToken": "a-token-of-sixteen-or-more"})
    assert "sixteen" not in repr(settings) and "(secret)" in repr(settings)


def test_a_token_in_plain_text_is_refused_with_the_command_that_encrypts_it() -> None:
    assert "pulumi config set --secret apiToken" in mistakes({"apiToken": "a-token-in-plain-text"})["apiToken"]


def test_an_encrypted_token_becomes_a_secret_output() -> None:
    def program() -> None:
        pulumi.export("token", Settings.load().token)

    deployment = deploy(program, config=REGION, secrets={"apiToken": "a-token-of-sixteen-or-more"})
    assert "a-token-of-sixteen-or-more" in str(deployment.outputs["token"])
    assert load().token is None


def test_keys_of_pulumi_and_of_the_providers_are_left_alone() -> None:
    assert load({"aws:defaultTags": "{}", "docker:host": "unix:///run", "pulumi:tags": "{}"}) == Settings()


def test_what_used_to_pass_without_a_word_is_a_mistake_like_any_other() -> None:
    found = mistakes({"ecs-file-ingst:apiCpu": "512", "aws:regoin": "eu-west-1", "aws:region": "eu-nowhere-9"})
    assert set(found) == {"ecs-file-ingst:apiCpu", "aws:regoin", "aws:region"}
    assert f"did you mean {PROJECT}:apiCpu?" in found["ecs-file-ingst:apiCpu"]
    with pytest.raises(ConfigurationError, match=r"aws:region: \(missing\)"):
        evaluate({})


def test_the_sweep_runs_in_production_unless_said_otherwise() -> None:
    assert not Settings().sweep_enabled
    assert Settings(production=True).sweep_enabled
    assert not Settings(production=True, sweep_state="disabled").sweep_enabled
    assert Settings(sweep_state="enabled").sweep_enabled


def test_https_is_on_with_a_domain_or_a_certificate() -> None:
    assert Settings().https is None
    assert Settings(domain_name="a.b.example", hosted_zone_name="b.example").https is not None
    assert Settings(certificate_arn="arn:aws:acm:eu-west-1:123456789012:certificate/1").https is not None


def test_a_message_may_take_as_long_as_the_component_says() -> None:
    rule = get_args(MessageSeconds)[1]
    for seconds, beyond in ((rule.low, -1), (rule.high, 1)):
        milliseconds = int(seconds * 1000)
        assert load({"workerMessageMilliseconds": str(milliseconds)}).worker_message_seconds == seconds
        assert list(mistakes({"workerMessageMilliseconds": str(milliseconds + beyond)})) == [
            "workerMessageMilliseconds"
        ]


def test_sizes_come_in_pairs() -> None:
    assert Settings(api_cpu=1024, api_memory=2048).api_size == Size(cpu=1024, memory=2048)
    assert Settings(worker_message_milliseconds=250).worker_message_seconds == 0.25
