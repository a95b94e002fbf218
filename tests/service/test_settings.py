from __future__ import annotations

import sys
from pathlib import Path

import pytest

from service.settings import ApiSettings, SettingsError, SweepSettings, WorkerSettings

API = {
    "AWS_REGION": "eu-west-1",
    "FILES_DIR": "/mnt/efs",
    "INBOX_QUEUE_URL": "https://sqs/inbox",
    "API_TOKEN_PARAMETER": "/api-token",
}
WORKER = {"AWS_REGION": "eu-west-1", "INBOX_QUEUE_URL": "https://sqs/inbox", "EMAILS_BUCKET": "emails"}
SWEEP = {"AWS_REGION": "eu-west-1", "FILES_DIR": "/mnt/efs"}


def test_the_required_variables_are_enough() -> None:
    api = ApiSettings.from_env(API)
    assert (api.port, api.files_auth, api.files_label, api.files_max_bytes) == (8080, "token", "/mnt/efs", 5368709120)
    assert (api.keep_alive_seconds, api.drain_seconds, api.stop_timeout_seconds) == (75, 5, 60)
    worker = WorkerSettings.from_env(WORKER)
    assert (worker.emails_prefix, worker.region) == ("emails/", "eu-west-1")
    sweep = SweepSettings.from_env(SWEEP)
    assert (sweep.files_dir, sweep.min_age_seconds) == (Path("/mnt/efs"), 86400)


@pytest.mark.parametrize(("settings", "env"), [(ApiSettings, API), (WorkerSettings, WORKER), (SweepSettings, SWEEP)])
def test_every_required_variable_that_is_missing_is_named(
    settings: type[ApiSettings | WorkerSettings | SweepSettings], env: dict[str, str]
) -> None:
    with pytest.raises(SettingsError) as caught:
        settings.from_env({"PORT": ""})
    assert len(caught.value.mistakes) == len(env)
    for name in env:
        assert f"{name} is not set" in str(caught.value)


def test_all_mistakes_come_in_one_message_with_value_and_what_is_allowed() -> None:
    wrong = {"PORT": "http", "LOG_LEVEL": "loud", "FILES_AUTH": "maybe", "FILES_DIR": "here", "FILES_MAX_BYTES": "0"}
    with pytest.raises(SettingsError) as caught:
        ApiSettings.from_env({**API, **wrong})
    assert len(caught.value.mistakes) == 5
    for name, value in wrong.items():
        assert f"{name} is {value!r}; allowed: " in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("PORT", value) for value in ("1_0", " 80", "٨٠", "9" * 5000)],
        *[("AWS_REGION", value) for value in ("x_y z", "-a", "eu west")],
        *[("INBOX_QUEUE_URL", value) for value in ("garbage", "sqs.eu-west-1/1/q", "ftp://a/b", "https://host")],
    ],
)
def test_what_only_looks_like_a_value_is_refused(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=rf"{name} is .*; allowed: "):
        ApiSettings.from_env({**API, name: value})


@pytest.mark.parametrize("value", ["nan", "inf", "-1", "soon"])
def test_seconds_are_finite_and_not_negative(value: str) -> None:
    with pytest.raises(SettingsError, match="DRAIN_SECONDS"):
        ApiSettings.from_env({**API, "DRAIN_SECONDS": value})


def test_a_drain_longer_than_the_stop_timeout_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"DRAIN_SECONDS is 30; allowed: less than STOP_TIMEOUT_SECONDS, .* 20"):
        ApiSettings.from_env({**API, "DRAIN_SECONDS": "30", "STOP_TIMEOUT_SECONDS": "20"})


def test_a_poll_longer_than_sqs_allows_is_refused() -> None:
    with pytest.raises(SettingsError, match="WORKER_WAIT_SECONDS is '21'"):
        WorkerSettings.from_env({**WORKER, "WORKER_WAIT_SECONDS": "21"})


def test_a_long_poll_beyond_the_stop_timeout_is_refused() -> None:
    with pytest.raises(
        SettingsError, match=r"WORKER_WAIT_SECONDS is 10; allowed: less than STOP_TIMEOUT_SECONDS, .* 5"
    ):
        WorkerSettings.from_env({**WORKER, "WORKER_WAIT_SECONDS": "10", "STOP_TIMEOUT_SECONDS": "5"})


def test_a_worker_takes_the_agents_address_from_where_ecs_puts_it() -> None:
    assert WorkerSettings.from_env(WORKER).agent_url == ""
    agent = "http://169.254.170.2/api/1234"
    assert WorkerSettings.from_env({**WORKER, "ECS_AGENT_URI": agent}).agent_url == agent


@pytest.mark.parametrize(
    ("value", "verify_bytes"),
    [
        ("", 0),
        ("off", 0),
        ("64MiB", 64 * 1024**2),
        ("10GiB", 10 * 1024**3),
        ("2TiB", 2 * 1024**4),
        ("all", sys.maxsize),
    ],
)
def test_a_sweep_verifies_nothing_all_or_so_much_a_run(value: str, verify_bytes: int) -> None:
    assert SweepSettings.from_env({**SWEEP, "SWEEP_VERIFY": value}).verify_bytes == verify_bytes


@pytest.mark.parametrize(
    "value", ["on", "10%", "10", "10GB", "10 GiB", "0GiB", "-1GiB", "1.5GiB", "99999999TiB", "٣GiB"]
)
def test_a_pace_that_is_none_is_refused_with_what_is_allowed(value: str) -> None:
    with pytest.raises(SettingsError) as caught:
        SweepSettings.from_env({**SWEEP, "SWEEP_VERIFY": value})
    allowed = "allowed: off, all, or a size for each run in MiB, GiB or TiB, such as 10GiB"
    assert caught.value.mistakes == [f"SWEEP_VERIFY is {value!r}; {allowed}"]
