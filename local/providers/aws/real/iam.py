"""IAM: roles and policies."""

from __future__ import annotations

import json
from typing import Any

from local.providers.aws.real.base import Real, same_document
from local.providers.kind import AutoName, Created, Properties


class Role(Real):
    # 64 characters, and the names are one space for all regions of an account.
    auto_name = AutoName(longest=64)
    replaces = frozenset({"name", "namePrefix", "path"})
    outputs = frozenset({"arn", "uniqueId", "createDate", "path", "maxSessionDuration"})
    exclusive = True

    def identify(self, inputs: Properties) -> str:
        return str(inputs["name"])

    def put(self, inputs: Properties) -> Created:
        iam, name = self.clients["iam"], str(inputs["name"])
        policy = _json_text(inputs["assumeRolePolicy"])
        if self.exists(name, inputs):
            iam.update_assume_role_policy(RoleName=name, PolicyDocument=policy)
            role = iam.get_role(RoleName=name)["Role"]
        else:
            boundary = (
                {"PermissionsBoundary": inputs["permissionsBoundary"]} if inputs.get("permissionsBoundary") else {}
            )
            role = iam.create_role(
                RoleName=name,
                Path=inputs.get("path", "/"),
                AssumeRolePolicyDocument=policy,
                Description=inputs.get("description", ""),
                Tags=_tag_list(inputs),
                **boundary,
            )["Role"]
        return Created(
            name,
            {
                "arn": role["Arn"],
                "uniqueId": role["RoleId"],
                "createDate": role["CreateDate"].isoformat(),
                "path": inputs.get("path", "/"),
                "maxSessionDuration": inputs.get("maxSessionDuration", 3600),
            },
        )

    def remove(self, resource_id: str, state: Properties) -> None:
        self.clients["iam"].delete_role(RoleName=resource_id)

    def look(self, resource_id: str, state: Properties) -> object:
        return self.clients["iam"].get_role(RoleName=resource_id)["Role"]

    def found(self, answer: Any, state: Properties) -> Properties:
        trust = json.dumps(answer["AssumeRolePolicyDocument"])
        read = {"assumeRolePolicy": same_document(state.get("assumeRolePolicy"), trust)}
        return read | ({"description": answer.get("Description", "")} if "description" in state else {})


class RolePolicy(Real):
    auto_name = AutoName(longest=128)
    replaces = frozenset({"name", "namePrefix", "role"})

    def identify(self, inputs: Properties) -> str:
        return f"{inputs['role']}:{inputs['name']}"

    def put(self, inputs: Properties) -> Created:
        self.clients["iam"].put_role_policy(
            RoleName=inputs["role"], PolicyName=inputs["name"], PolicyDocument=_json_text(inputs["policy"])
        )
        return Created(self.identify(inputs))

    def remove(self, resource_id: str, state: Properties) -> None:
        role, _, name = resource_id.partition(":")
        self.clients["iam"].delete_role_policy(RoleName=role, PolicyName=name)

    def look(self, resource_id: str, state: Properties) -> object:
        role, _, name = resource_id.partition(":")
        return self.clients["iam"].get_role_policy(RoleName=role, PolicyName=name)

    def found(self, answer: Any, state: Properties) -> Properties:
        return {"policy": same_document(state.get("policy"), json.dumps(answer["PolicyDocument"]))}


class RolePolicyAttachment(Real):
    replaces = frozenset({"role", "policyArn"})

    def identify(self, inputs: Properties) -> str:
        return f"{inputs['role']}/{inputs['policyArn']}"

    def put(self, inputs: Properties) -> Created:
        self.clients["iam"].attach_role_policy(RoleName=inputs["role"], PolicyArn=inputs["policyArn"])
        return Created(self.identify(inputs))

    def remove(self, resource_id: str, state: Properties) -> None:
        self.clients["iam"].detach_role_policy(RoleName=state["role"], PolicyArn=state["policyArn"])

    def look(self, resource_id: str, state: Properties) -> object:
        attached = self.clients["iam"].list_attached_role_policies(RoleName=state["role"])["AttachedPolicies"]
        return next((policy for policy in attached if policy["PolicyArn"] == state["policyArn"]), None)


class Policy(Real):
    auto_name = AutoName(longest=128)
    replaces = frozenset({"name", "namePrefix", "path", "description"})
    outputs = frozenset({"arn", "policyId", "attachmentCount", "path"})
    exclusive = True

    def identify(self, inputs: Properties) -> str:
        return self.place.arn("iam", f"policy{inputs.get('path', '/')}{inputs['name']}", region="")

    def put(self, inputs: Properties) -> Created:
        iam, arn, text = self.clients["iam"], self.identify(inputs), _json_text(inputs["policy"])
        if self.exists(arn, inputs):
            for version in iam.list_policy_versions(PolicyArn=arn)["Versions"]:
                if not version["IsDefaultVersion"]:
                    iam.delete_policy_version(PolicyArn=arn, VersionId=version["VersionId"])
            iam.create_policy_version(PolicyArn=arn, PolicyDocument=text, SetAsDefault=True)
        else:
            iam.create_policy(PolicyName=inputs["name"], Path=inputs.get("path", "/"), PolicyDocument=text)
        found = iam.get_policy(PolicyArn=arn)["Policy"]
        return Created(arn, {"arn": arn, "policyId": found["PolicyId"], "attachmentCount": 0, "path": found["Path"]})

    def remove(self, resource_id: str, state: Properties) -> None:
        self.clients["iam"].delete_policy(PolicyArn=resource_id)

    def look(self, resource_id: str, state: Properties) -> object:
        return self.clients["iam"].get_policy(PolicyArn=resource_id)


def _json_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _tag_list(inputs: Properties) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in (inputs.get("tags") or {}).items()]
