"""A secret in SSM Parameter Store."""

from __future__ import annotations

import hashlib
import secrets

import pulumi
import pulumi_aws as aws

from components.component import Component, Options
from components.iam import Statement
from components.names import environment_name
from components.overrides import Overrides
from components.uses import Use


class SecretParameter(Component):
    """A SecureString, encrypted with the account's own SSM key, whose value never stands in plain in the stack's state.

    Without a `value` the parameter is created with a random one of 256 bits, and left alone from then on: a rotation
    outside Pulumi stays. With a `value`, a change of it is written to the parameter by the next `pulumi up`.
    """

    def __init__(
        self,
        name: str,
        *,
        value: pulumi.Output[str] | None = None,
        overrides: Overrides | None = None,
        opts: Options = None,
    ) -> None:
        super().__init__(name, overrides=overrides, opts=opts)
        generated = value is None
        secret = pulumi.Output.secret(secrets.token_urlsafe(32) if value is None else value)
        self.parameter = aws.ssm.Parameter(
            name,
            type=aws.ssm.ParameterType.SECURE_STRING,
            # `value` would be read back into the state; a write-only value is not, but stays among the inputs there,
            # which is why it is marked as a secret.
            value_wo=secret,
            value_wo_version=1 if generated else secret.apply(_version),
            opts=self.options(
                ignore_changes=["valueWo", "valueWoVersion"] if generated else [],
                additional_secret_outputs=["valueWo", "valueWoVersion", "value", "insecureValue"],
            ),
        )
        self.arn = self.parameter.arn
        self.parameter_name = self.parameter.name
        self.finish({"parameter_name": self.parameter_name})

    def reading(self) -> Use:
        """The use of a workload that reads the value itself. Environment: `<NAME>_PARAMETER`, the parameter's name."""
        return Use(
            source=self.name,
            statements=(Statement(actions=("ssm:GetParameter",), resources=(self.arn,)),),
            environment={environment_name(self.name, "PARAMETER"): self.parameter_name},
            depends_on=(self.parameter,),
        )

    def injected_as(self, variable: str) -> Use:
        """The use of a workload that gets the value in an environment variable, set by ECS when a task starts."""
        return Use(
            source=self.name,
            execution_statements=(Statement(actions=("ssm:GetParameters",), resources=(self.arn,)),),
            secrets={variable: self.arn},
            depends_on=(self.parameter,),
        )


def _version(value: str) -> int:
    # The provider writes a write-only value when its version changes, so the version follows from the value. It stays
    # secret, as it says something about the value. 31 bits: the provider's integers have 32 in some bridges.
    return int.from_bytes(hashlib.sha256(value.encode()).digest()[:4], "big") >> 1
