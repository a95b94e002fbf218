from __future__ import annotations

from botocore.exceptions import ClientError, ConnectTimeoutError

from service.aws.clients import AwsError, Clients, error_code


def test_a_client_has_a_connection_for_every_thread_and_bounded_calls() -> None:
    config = Clients("eu-west-1").client("sqs", connections=17, read_timeout_seconds=30, attempts=2).meta.config
    assert (config.region_name, config.max_pool_connections) == ("eu-west-1", 17)
    assert (config.connect_timeout, config.read_timeout) == (2, 30)
    assert config.retries["mode"] == "standard"
    assert config.retries["total_max_attempts"] == 2


def test_a_failure_is_named_by_the_code_of_aws_or_by_its_kind() -> None:
    refused = ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "PutObject")
    unreachable = ConnectTimeoutError(endpoint_url="https://sqs")
    assert error_code(refused) == "AccessDenied"
    assert error_code(unreachable) == "ConnectTimeoutError"
    assert isinstance(refused, AwsError) and isinstance(unreachable, AwsError)
