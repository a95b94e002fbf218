"""An EFS file system that containers mount."""

from __future__ import annotations

from typing import Annotated, ClassVar

import pulumi_aws as aws

from components.arguments import Between, check_call, checked
from components.component import Children, Component, Options
from components.iam import Statement, document
from components.names import Name, environment_name, name_tag
from components.network import Network
from components.overrides import Overrides
from components.task import USER_ID
from components.uses import ContainerPath, Mount, Reach, Use

NFS_PORT = 2049
PosixId = Annotated[int, Between(0, 4_294_967_295)]
"""A uid or gid of an access point. https://docs.aws.amazon.com/efs/latest/ug/API_PosixUser.html"""


class EfsVolume(Component):
    """An encrypted, elastic, backed-up file system with an access point of its own directory and user.

    It has one mount target in each zone of the network's task subnets (EFS allows one per zone). Clients must use TLS
    and be authorised by IAM; having a file system policy at all ends EFS's default of letting every client in.
    The access point acts as `uid` and `gid` whatever the client says: the owner of its directory, and the user that
    containers run as where nothing else is said. `protected` (production) refuses to delete the file system.
    """

    children: ClassVar[Children] = {
        "access": "aws:efs/accessPoint:AccessPoint",
        "backup": "aws:efs/backupPolicy:BackupPolicy",
        "file-system": "aws:efs/fileSystem:FileSystem",
        "mounts": "aws:ec2/securityGroup:SecurityGroup",
        "policy": "aws:efs/fileSystemPolicy:FileSystemPolicy",
        "*-*-[0-9][a-z]": "aws:efs/mountTarget:MountTarget",
    }

    @checked
    def __init__(
        self,
        name: Name,
        *,
        network: Network,
        protected: bool,
        uid: PosixId = USER_ID,
        gid: PosixId = USER_ID,
        overrides: Overrides | None = None,
        opts: Options = None,
    ) -> None:
        super().__init__(name, overrides=overrides, opts=opts)
        self._vpc_id = network.vpc_id
        self.file_system = aws.efs.FileSystem(
            name,
            encrypted=True,
            throughput_mode="elastic",
            tags=name_tag(name),
            opts=self.options(protect=protected or None),
        )
        aws.efs.BackupPolicy(
            f"{name}-backup",
            file_system_id=self.file_system.id,
            backup_policy=aws.efs.BackupPolicyBackupPolicyArgs(status="ENABLED"),
            opts=self.options(),
        )
        self.policy = self._policy()
        self.access_point = self._access_point(uid, gid)
        self.security_group = aws.ec2.SecurityGroup(
            f"{name}-mounts",
            description="Mount targets",
            vpc_id=network.vpc_id,
            tags=name_tag(f"{name}-mounts"),
            opts=self.options(),
        )
        self.mount_targets = tuple(
            aws.efs.MountTarget(
                f"{name}-{zone}",
                file_system_id=self.file_system.id,
                subnet_id=subnet,
                security_groups=[self.security_group.id],
                opts=self.options(),
            )
            for zone, subnet in network.task_subnets.items()
        )
        self.file_system_id = self.file_system.id
        self.finish({"file_system_id": self.file_system_id})

    def mounted_at(self, container_path: ContainerPath) -> Use:
        """The use of a workload that reads and writes the volume at `container_path`. Environment: `<NAME>_DIR`."""
        check_call(f"EfsVolume {self.name!r}", self.mounted_at, container_path=container_path)
        return Use(
            source=self.name,
            statements=(
                Statement(
                    actions=("elasticfilesystem:ClientMount", "elasticfilesystem:ClientWrite"),
                    resources=(self.file_system.arn,),
                    # EFS authorises on the file system; the access point is a condition.
                    # https://docs.aws.amazon.com/efs/latest/ug/iam-access-control-nfs-efs.html
                    conditions={"StringEquals": {"elasticfilesystem:AccessPointArn": self.access_point.arn}},
                ),
            ),
            environment={environment_name(self.name, "DIR"): container_path},
            mounts=(
                Mount(
                    volume=self.name,
                    container_path=container_path,
                    file_system_id=self.file_system.id,
                    access_point_id=self.access_point.id,
                ),
            ),
            reaches=(Reach(name=self.name, security_group_id=self.security_group.id, port=NFS_PORT),),
            # A task that starts before its zone's mount target resolves no address and fails.
            depends_on=(*self.mount_targets, self.access_point, self.policy),
            vpc_id=self._vpc_id,
        )

    def _policy(self) -> aws.efs.FileSystemPolicy:
        return aws.efs.FileSystemPolicy(
            f"{self.name}-policy",
            file_system_id=self.file_system.id,
            policy=document(
                [
                    {
                        "Sid": "OnlyTls",
                        "Effect": "Deny",
                        "Principal": {"AWS": "*"},
                        "Action": [
                            "elasticfilesystem:ClientMount",
                            "elasticfilesystem:ClientRootAccess",
                            "elasticfilesystem:ClientWrite",
                        ],
                        "Resource": self.file_system.arn,
                        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
                    }
                ]
            ),
            opts=self.options(),
        )

    def _access_point(self, uid: int, gid: int) -> aws.efs.AccessPoint:
        return aws.efs.AccessPoint(
            f"{self.name}-access",
            file_system_id=self.file_system.id,
            posix_user=aws.efs.AccessPointPosixUserArgs(uid=uid, gid=gid),
            root_directory=aws.efs.AccessPointRootDirectoryArgs(
                path=f"/{self.name}",
                creation_info=aws.efs.AccessPointRootDirectoryCreationInfoArgs(
                    owner_uid=uid, owner_gid=gid, permissions="0750"
                ),
            ),
            tags=name_tag(f"{self.name}-access"),
            opts=self.options(),
        )
