"""The application's image: its repository, built inline, deployed by digest."""

from __future__ import annotations

import json
from pathlib import Path

import pulumi
import pulumi_aws as aws
import pulumi_docker as docker

from components.build_context import context_digest
from components.component import Component, Options
from components.errors import ArgumentError, Mistake
from components.overrides import Overrides

ARCHITECTURES = {"linux/amd64": "X86_64", "linux/arm64": "ARM64"}
"""ECS's name of the CPU architecture, by Docker's name of the platform."""

KEEP_IMAGES = 100
"""Images that the repository keeps.

Every push belongs to an update that deploys it, so the deployed digest is the newest, or, after updates that ECS rolled
back, a little older. Rules by age or for untagged images could expire it: a stack that nobody touches for a month still
runs its image, and a rebuild moves the tag away from the digest that the running tasks came from. A count of all images
expires it only after this many failed updates in a row.
"""


class Image(Component):
    """A Docker image built from `context` (a folder relative to the project's) and pushed to a repository of its own.

    It is tagged with the hash of what it is built from, so that nothing is rebuilt when nothing has changed, and
    referred to by digest (`reference`), so that what was tested is what runs. `platform` is `linux/amd64` or
    `linux/arm64`; `base_image` replaces the Dockerfile's `BASE_IMAGE` and `extras` its `EXTRAS`; `protected`
    (production) refuses to delete a repository with images.

    Raises ArgumentError when the folder has no Dockerfile or the platform is unknown.
    """

    def __init__(
        self,
        name: str,
        *,
        context: str,
        protected: bool,
        platform: str = "linux/amd64",
        base_image: str = "",
        extras: str = "",
        overrides: Overrides | None = None,
        opts: Options = None,
    ) -> None:
        _check(name, context, platform)
        super().__init__(name, overrides=overrides, opts=opts)
        self.architecture = ARCHITECTURES[platform]
        self.repository = self._repository(protected)
        self.image = self._build(context, platform, {"BASE_IMAGE": base_image, "EXTRAS": extras})
        self.reference = self.image.repo_digest
        self.finish({"reference": self.reference})

    def _repository(self, protected: bool) -> aws.ecr.Repository:
        repository = aws.ecr.Repository(
            self.name,
            force_delete=not protected,
            # Immutable tags would make an update that was interrupted after its push fail for ever: the rebuilt image
            # has the same tag and may have another digest. Deployments go by digest and don't care where tags point.
            image_tag_mutability="MUTABLE",
            image_scanning_configuration=aws.ecr.RepositoryImageScanningConfigurationArgs(scan_on_push=True),
            opts=self.options(),
        )
        aws.ecr.LifecyclePolicy(
            f"{self.name}-lifecycle",
            repository=repository.name,
            policy=json.dumps(
                {
                    "rules": [
                        {
                            "rulePriority": 1,
                            "description": f"keep the newest {KEEP_IMAGES} images",
                            "selection": {
                                "tagStatus": "any",
                                "countType": "imageCountMoreThan",
                                "countNumber": KEEP_IMAGES,
                            },
                            "action": {"type": "expire"},
                        }
                    ]
                },
                sort_keys=True,
            ),
            opts=self.options(),
        )
        return repository

    def _build(self, context: str, platform: str, arguments: dict[str, str]) -> docker.Image:
        given = {name: value for name, value in arguments.items() if value}
        tag = context_digest(Path(context), platform, *(f"{name}={value}" for name, value in given.items()))[:32]
        token = aws.ecr.get_authorization_token_output(
            registry_id=self.repository.registry_id, opts=pulumi.InvokeOutputOptions(parent=self)
        )
        return docker.Image(
            self.name,
            image_name=pulumi.Output.concat(self.repository.repository_url, ":", tag),
            build=docker.DockerBuildArgs(
                context=context,
                dockerfile=f"{context}/Dockerfile",
                platform=platform,
                builder_version=docker.BuilderVersion.BUILDER_BUILD_KIT,
                args=given,
            ),
            registry=docker.RegistryArgs(
                server=self.repository.repository_url,
                username=token.user_name,
                password=pulumi.Output.secret(token.password),
            ),
            opts=self.options(),
        )


def _check(name: str, context: str, platform: str) -> None:
    mistakes = []
    if not Path(context, "Dockerfile").is_file():
        mistakes.append(
            Mistake(
                name="context",
                value=repr(context),
                allowed="a folder with a Dockerfile, relative to the folder of Pulumi.yaml",
                remedy="correct the path, or run Pulumi in the project's folder",
            )
        )
    if platform not in ARCHITECTURES:
        mistakes.append(
            Mistake(
                name="platform", value=repr(platform), allowed=" or ".join(ARCHITECTURES), remedy="use one of these"
            )
        )
    if mistakes:
        raise ArgumentError(f"Image {name!r}", *mistakes)
