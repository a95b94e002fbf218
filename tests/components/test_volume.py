from __future__ import annotations

import pulumi
import pytest

from components import ArgumentError, EfsVolume, Network
from components.iam import policy
from tests.components import parts
from tests.components.deployment import Deployment, deploy, deploy_twice, statements


@pytest.fixture(scope="module")
def files() -> Deployment:
    def program() -> None:
        use = parts.volume(parts.network(availability_zones=3)).mounted_at("/mnt/efs")
        pulumi.export("policy", policy(use.statements))
        pulumi.export("environment", use.environment)
        pulumi.export("mounts", [(mount.volume, mount.container_path) for mount in use.mounts])
        pulumi.export("ports", [reach.port for reach in use.reaches])
        pulumi.export("waits", [resource.urn for resource in use.depends_on])

    return deploy_twice(program)


def test_the_file_system_is_encrypted_elastic_and_backed_up(files: Deployment) -> None:
    file_system = files.one(":FileSystem").inputs
    assert file_system["encrypted"] is True
    assert file_system["throughputMode"] == "elastic"
    assert files.one(":BackupPolicy").inputs["backupPolicy"] == {"status": "ENABLED"}


def test_trap_20_there_is_one_mount_target_for_each_zone(files: Deployment) -> None:
    assert files.names(":MountTarget") == ["files-eu-west-1a", "files-eu-west-1b", "files-eu-west-1c"]
    subnets = [target.inputs["subnetId"] for target in files.all(":MountTarget")]
    assert len(set(subnets)) == 3


def test_trap_22_the_access_point_is_a_directory_and_a_user_of_its_own(files: Deployment) -> None:
    point = files.one(":AccessPoint").inputs
    assert point["posixUser"] == {"uid": 10001, "gid": 10001}
    assert point["rootDirectory"]["path"] == "/files"
    assert point["rootDirectory"]["creationInfo"] == {"ownerUid": 10001, "ownerGid": 10001, "permissions": "0750"}


def test_clients_without_tls_are_refused_by_the_file_system(files: Deployment) -> None:
    (statement,) = files.one(":FileSystemPolicy").json("policy")["Statement"]
    assert statement["Effect"] == "Deny"
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    # Nothing here allows anybody anything: that is for the task roles. Nor can it lock its own administrators out.
    assert all(action.startswith("elasticfilesystem:Client") for action in statement["Action"])


def test_a_mounting_task_may_mount_and_write_through_the_access_point_alone(files: Deployment) -> None:
    ((actions, resources, conditions),) = statements(files.outputs["policy"])
    assert actions == ["elasticfilesystem:ClientMount", "elasticfilesystem:ClientWrite"]
    assert resources == ["arn:aws:elasticfilesystem:eu-west-1:123456789012:files-1a2b3c4"]
    (point,) = conditions["StringEquals"].values()
    assert list(conditions["StringEquals"]) == ["elasticfilesystem:AccessPointArn"]
    assert point.endswith(":files-access-1a2b3c4")


def test_trap_19_a_mounting_task_waits_for_every_mount_target(files: Deployment) -> None:
    waits = " ".join(files.outputs["waits"])
    assert all(f"MountTarget::{name}" in waits for name in files.names(":MountTarget"))
    assert "FileSystemPolicy::files-policy" in waits and "AccessPoint::files-access" in waits


def test_a_mounting_task_learns_the_directory_and_reaches_the_nfs_port(files: Deployment) -> None:
    assert files.outputs["environment"] == {"FILES_DIR": "/mnt/efs"}
    assert files.outputs["mounts"] == [["files", "/mnt/efs"]]
    assert files.outputs["ports"] == [2049]


def test_nothing_comes_into_the_mount_targets_but_what_uses_let_in(files: Deployment) -> None:
    assert files.names(":SecurityGroup") == ["files-mounts"]
    group = files.one(":SecurityGroup").inputs
    assert "ingress" not in group and "egress" not in group
    assert not files.all(":SecurityGroupIngressRule")


def test_a_protected_file_system_is_not_deleted() -> None:
    deployment = deploy(lambda: EfsVolume("files", network=parts.network(), protected=True))
    assert deployment.one(":FileSystem").options.protect is True


def test_tasks_of_another_network_cannot_mount_it() -> None:
    def program() -> None:
        elsewhere = Network("elsewhere", vpc="own", availability_zones=2)
        parts.api(uses=[parts.volume(elsewhere).mounted_at("/mnt/files")])

    with pytest.raises(ArgumentError, match="'files', which lies in another network"):
        deploy(program)


@pytest.mark.parametrize(
    "path",
    ["mnt/efs", "/mnt/efs/", "/", "/mnt/../etc", "/proc", "/sys/fs", "/dev/shm", "/etc", "/usr/lib", "/a:b", "//a"],
)
def test_a_path_that_is_none_or_the_system_s_is_an_error(path: str) -> None:
    with pytest.raises(ArgumentError, match=rf"(?s)EfsVolume 'files':\n  container_path: '{path}'.*write it as '/mnt"):
        deploy(lambda: parts.volume(parts.network()).mounted_at(path))


def test_the_owner_of_the_directory_is_the_container_s_user() -> None:
    deployment = deploy(lambda: EfsVolume("files", network=parts.network(), protected=False, uid=101, gid=102))
    point = deployment.one(":AccessPoint").inputs
    assert point["posixUser"] == {"uid": 101, "gid": 102}
    assert point["rootDirectory"]["creationInfo"] == {"ownerUid": 101, "ownerGid": 102, "permissions": "0750"}
