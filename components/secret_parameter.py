"""A secret in SSM Parameter Store."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import pulumi
import pulumi_aws as aws
import pulumi_random as random

from components.arguments import Hidden, Matching, check_call, checked
from components.component import Children, Component, Options
from components.errors import ArgumentError, Mistake
from components.iam import Statement
from components.names import Name, environment_name
from components.overrides import Overrides
from components.uses import Use, Variable

GENERATED_LENGTH = 43
"""Letters and digits: 62^43 is just above 2^256."""

SecretValue = Annotated[
    pulumi.Input[str],
    Matching(
        r"(?s)(?=.*\S).{1,4096}", "up to 4,096 characters that are not all blank", "leave it out for a random one"
    ),
]
"""What a standard parameter holds. https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_PutParameter.html"""

_VALUES = {"value", "value_wo", "value_wo_version", "insecure_value"}
"""What is no override: it would be written in plain, or not at all."""

_WRITTEN_APART = {"tags", "overwrite", "region"}
"""What an override may change without a put of the parameter: tags have an action of their own."""


class SecretParameter(Component):
    """A SecureString, encrypted with the account's own SSM key, whose value never stands in plain in the stack's state.

    Without a `value` the parameter is created with a random one of 256 bits, and left alone from then on: a rotation
    outside Pulumi stays, also over a refresh. With a `value`, a change of it is written by the next `pulumi up`.
    `protected` keeps Pulumi from deleting it: no one can bring a deleted value back.

    SSM changes a parameter's other properties (description, key, tier) only together with its value. An override that
    changes one of them later therefore writes the program's value as well, over a rotated one.
    """

    children: ClassVar[Children] = {
        "generated": "random:index/randomPassword:RandomPassword",
        "parameter": "aws:ssm/parameter:Parameter",
    }

    @checked
    def __init__(
        self,
        name: Name,
        *,
        value: Annotated[SecretValue | None, Hidden()] = None,
        protected: bool = False,
        overrides: Overrides | None = None,
        opts: Options = None,
    ) -> None:
        wrong = _VALUES & set((overrides or {}).get("parameter", {}))
        if wrong:
            raise ArgumentError(
                f"SecretParameter {name!r}",
                Mistake(
                    name="overrides['parameter']",
                    value=", ".join(sorted(wrong)),
                    allowed="properties beside the value",
                    remedy="give the value as the argument value",
                ),
            )
        super().__init__(name, overrides=overrides, opts=opts)
        secret: pulumi.Output[str] = pulumi.Output.secret(self._generated() if value is None else value)
        others = {
            key: changed for key, changed in self._overrides.get("parameter", {}).items() if key not in _WRITTEN_APART
        }
        self.parameter = aws.ssm.Parameter(
            name,
            type=aws.ssm.ParameterType.SECURE_STRING,
            description=f"Made by {pulumi.get_project()}/{pulumi.get_stack()}",
            # `value` would be read back into the state; a write-only value is not. A refresh even empties it among the
            # inputs there, so it must be given each time and never be ignored: what is ignored is taken from the state,
            # and the provider refuses a parameter without a value (pulumi/pulumi-terraform-bridge#3201).
            value_wo=secret,
            # The version alone decides whether the provider writes the value.
            value_wo_version=_version(None if value is None else secret, others),
            opts=self.options(
                protect=protected or None,
                # A rotation outside may come with a description. Setting it back would put the parameter without its
                # value; ignoring it works only where the state has one, so the parameter is made with one.
                ignore_changes=[] if "description" in others else ["description"],
                additional_secret_outputs=["valueWo", "valueWoVersion", "value", "insecureValue"],
            ),
        )
        self.arn = self.parameter.arn
        self.parameter_name = self.parameter.name
        self.finish({"parameter_name": self.parameter_name})

    def _generated(self) -> pulumi.Output[str]:
        # A resource, so that the value is made once and each run of the program registers the same. Never protected: it
        # goes when a value is given, and the parameter is what holds the value that counts.
        return random.RandomPassword(
            f"{self.name}-generated", length=GENERATED_LENGTH, special=False, opts=self.options()
        ).result

    def reading(self) -> Use:
        """The use of a workload that reads the value itself. Environment: `<NAME>_PARAMETER`, the parameter's name."""
        return Use(
            source=self.name,
            statements=(Statement(actions=("ssm:GetParameter",), resources=(self.arn,)),),
            environment={environment_name(self.name, "PARAMETER"): self.parameter_name},
            depends_on=(self.parameter,),
        )

    def injected_as(self, variable: Variable) -> Use:
        """The use of a workload that gets the value in an environment variable, set by ECS when a task starts."""
        check_call(f"SecretParameter {self.name!r}", self.injected_as, variable=variable)
        return Use(
            source=self.name,
            execution_statements=(Statement(actions=("ssm:GetParameters",), resources=(self.arn,)),),
            secrets={variable: self.arn},
            depends_on=(self.parameter,),
        )


def _version(value: pulumi.Output[str] | None, others: Mapping[str, Any]) -> pulumi.Input[int]:
    """1 for a generated value, which is written once, else derived from the value.

    The other properties count too: an update without a new version puts the parameter with an empty value
    (hashicorp/terraform-provider-aws, internal/service/ssm/parameter.go, resourceParameterUpdate).
    """
    if value is None and not others:
        return 1
    # It stays secret, as it says something about the value.
    version: pulumi.Output[int] = pulumi.Output.all(value, dict(others)).apply(_digest)
    return pulumi.Output.secret(version)


def _digest(parts: list[Any]) -> int:
    value, others = parts
    text = json.dumps([value, others], sort_keys=True, default=str) if others else str(value)
    # 31 bits: the provider's integers have 32 in some bridges. Never 1, which stands for a generated value.
    return max(2, int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1)
