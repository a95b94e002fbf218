"""An EFS file system that containers mount."""

from __future__ import annotations

import pulumi_aws as aws

from components.component import Component, Options
from components.errors import ArgumentError, Mistake
from components.iam import Statement, document
from components.names import environment_name, name_tag
from components.network import Network
from components.overrides import Overrides
from components.uses import Mount, Reach, Use

NFS_PORT = 2049
CONTAINER_ID = 10001
"""The uid and gid of the image's user. The access point acts as this user whatever the client says."""


class EfsVolume(Component):
    """An encrypted, elastic, backed-up file system with an access point of its own directory and user.

    It has one mount target in each zone of the network's task subnets (EFS allows one per zone). Clients must use TLS
    and be authorised by IAM; having a file system policy at all ends EFS's default of letting every client in.
    `protected` (production) refuses to delete the file system.
    """

    def __init__(
        self,
        name: str,
        *,
        network: Network,
        protected: bool,
        overrides: Overrides | None = None,
        opts: Options = None,
    ) -> None:
        super().__init__(name, overrides=overrides, opts=opts)
        self.file_system = aws.efs.FileSystem(
            name,
            encrypted=True,
            throughput_mode="elastic",
            tags=name_tag(name),
            opts=self.options(protect=protected),
        )
        aws.efs.BackupPolicy(
            f"{name}-backup",
            file_system_id=self.file_system.id,
            backup_policy=aws.efs.BackupPolicyBackupPolicyArgs(status="ENABLED"),
            opts=self.options(),
        )
        self.policy = self._policy()
        self.access_point = self._access_point()
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

    def mounted_at(self, container_path: str) -> Use:
        """The use of a workload that reads and writes the volume at `container_path`. Environment: `<NAME>_DIR`."""
        if not container_path.startswith("/") or container_path.rstrip("/") != container_path or ".." in container_path:
            raise ArgumentError(
                f"EfsVolume {self.name!r}",
                Mistake(
                    name="container_path",
                    value=repr(container_path),
                    allowed="an absolute path below / without a trailing slash",
                    remedy="write it as '/mnt/efs'",
                ),
            )
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

    def _access_point(self) -> aws.efs.AccessPoint:
        return aws.efs.AccessPoint(
            f"{self.name}-access",
            file_system_id=self.file_system.id,
            posix_user=aws.efs.AccessPointPosixUserArgs(uid=CONTAINER_ID, gid=CONTAINER_ID),
            root_directory=aws.efs.AccessPointRootDirectoryArgs(
                path=f"/{self.name}",
                creation_info=aws.efs.AccessPointRootDirectoryCreationInfoArgs(
                    owner_uid=CONTAINER_ID, owner_gid=CONTAINER_ID, permissions="0750"
                ),
            ),
            tags=name_tag(f"{self.name}-access"),
            opts=self.options(),
        )
