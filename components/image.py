"""The application's image: its repository, built inline, deployed by digest."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Literal, cast

import pulumi
import pulumi_aws as aws
import pulumi_docker as docker

from components.arguments import Matching, Valid, checked
from components.build_context import DOCKERFILE, digest_of
from components.component import Children, Component, Options
from components.errors import ArgumentError, Mistake, did_you_mean, raise_mistakes
from components.names import Name
from components.overrides import Overrides
from components.staged_context import FOLDER, ContextChanged, LinkLeadsOut, StagedContext, stage

Platform = Literal["linux/amd64", "linux/arm64"]
"""What an image is built for, as Docker calls it."""

ARCHITECTURES: Mapping[Platform, str] = {"linux/amd64": "X86_64", "linux/arm64": "ARM64"}
"""ECS's name of the CPU architecture, by Docker's name of the platform."""

KEEP_IMAGES = 100
"""Images that the repository keeps.

Every push belongs to an update that deploys it, so the deployed digest is the newest, or, after updates that ECS rolled
back, a little older. Rules by age or for untagged images could expire it: a stack that nobody touches for a month still
runs its image, and a rebuild moves the tag away from the digest that the running tasks came from. A count of all images
expires it only after this many failed updates in a row.
"""

# What Docker takes without an ARG. https://docs.docker.com/reference/dockerfile/#predefined-args
_PREDEFINED = re.compile(r"(?i:https?|ftp|no|all)_(?:proxy|PROXY)|BUILDKIT_\w+|SOURCE_DATE_EPOCH")


def _context_problem(context: str) -> str | None:
    if Path(context, DOCKERFILE).is_file():
        return None
    return "a folder with a Dockerfile, relative to the folder of Pulumi.yaml"


Context = Annotated[str, Valid(_context_problem, "correct the path, or run Pulumi in the project's folder")]
"""The folder that an image is built from."""

BuildArgs = Mapping[
    Annotated[str, Matching(r"[A-Za-z_][A-Za-z0-9_]*", "the name of an ARG", "write it as the Dockerfile does")], str
]
"""Values of a Dockerfile's `ARG`s, by their names."""


class Image(Component):
    """A Docker image built from `context` and pushed to a repository of its own.

    `context` is a folder with a Dockerfile, relative to the project's or absolute. The image is built from a copy of what
    Docker would send of it (see `staged_context`), so that the same content is the same image whoever checks it out. It is
    tagged with the hash of what it is built from, so that nothing is rebuilt when nothing has changed, and referred to by
    digest (`reference`), so that what was tested is what runs.

    `platform` is `linux/amd64` or `linux/arm64`. `build_args` gives values to the Dockerfile's `ARG`s; an empty one leaves
    the Dockerfile's own. Docker keeps them in the image, so they are no place for a secret. `protected` (production)
    refuses to delete a repository with images.

    Raises ArgumentError when the folder has no Dockerfile or can't be copied, the platform is unknown, or the Dockerfile
    has no such `ARG`.
    """

    children: ClassVar[Children] = {
        "repository": "aws:ecr/repository:Repository",
        "lifecycle": "aws:ecr/lifecyclePolicy:LifecyclePolicy",
        "image": "docker:index/image:Image",
    }

    @checked
    def __init__(
        self,
        name: Name,
        *,
        context: Context,
        protected: bool,
        platform: Platform = "linux/amd64",
        build_args: BuildArgs | None = None,
        overrides: Overrides | None = None,
        opts: Options = None,
    ) -> None:
        given = {key: value for key, value in (build_args or {}).items() if value}
        _check_declared(name, Path(context, DOCKERFILE), given)
        staged = _stage(name, context)
        super().__init__(name, overrides=overrides, opts=opts)
        self.architecture = ARCHITECTURES[platform]
        self.repository = self._repository(protected)
        self.image = self._build(staged, platform, given)
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

    def _build(self, staged: StagedContext, platform: Platform, build_args: dict[str, str]) -> docker.Image:
        tag = digest_of(staged.digest, platform, *(f"{key}={build_args[key]}" for key in sorted(build_args)))[:32]
        return docker.Image(
            self.name,
            image_name=pulumi.Output.concat(self.repository.repository_url, ":", tag),
            build=docker.DockerBuildArgs(
                context=staged.path,
                dockerfile=f"{staged.path}/{DOCKERFILE}",
                platform=platform,
                builder_version=docker.BuilderVersion.BUILDER_BUILD_KIT,
                args=build_args,
            ),
            registry=docker.RegistryArgs(
                server=self.repository.repository_url, username="AWS", password=self._password()
            ),
            opts=self.options(),
        )

    def _password(self) -> pulumi.Input[str]:
        """The registry's, which is another one at each call.

        A preview leaves it unknown: a plan that held one would refuse every update, and print both. The engine takes any
        value where the plan has none (pulumi/pulumi, pkg/resource/deploy/plan.go), and the provider builds nothing because
        of a password (pulumi/pulumi-docker, provider/provider.go, `diffUpdates`).
        """
        if pulumi.runtime.is_dry_run():
            return cast(str, pulumi.UNKNOWN)
        token = aws.ecr.get_authorization_token_output(
            registry_id=self.repository.registry_id, opts=pulumi.InvokeOutputOptions(parent=self)
        )
        return pulumi.Output.secret(token.password)


def _check_declared(name: str, dockerfile: Path, build_args: Mapping[str, str]) -> None:
    declared = _declared(dockerfile.read_text(encoding="utf-8", errors="replace"))
    unknown = [key for key in build_args if key not in declared and not _PREDEFINED.fullmatch(key)]
    raise_mistakes(
        f"Image {name!r}",
        (
            Mistake(
                name="build_args key",
                value=repr(key),
                allowed=f"the name of an ARG in {dockerfile}",
                remedy=did_you_mean(key, declared),
            )
            for key in unknown
        ),
    )


def _declared(dockerfile: str) -> set[str]:
    """The names of a Dockerfile's `ARG`s, which may stand several on a line."""
    arguments = re.findall(r"(?im)^\s*ARG\s+(.+)$", dockerfile.replace("\\\n", " "))
    return {name for line in arguments for name in re.findall(r"(?:^|\s)(\w+)(?=[=\s]|$)", line)}


def _stage(name: str, context: str) -> StagedContext:
    try:
        return stage(Path(context))
    except LinkLeadsOut as error:
        value, allowed = (
            f"{context!r}, where {error} leads out of it",
            "links to what is in the folder, and not ignored",
        )
        remedy = "put a copy in the link's place, or ignore the link in .dockerignore"
    except ContextChanged as error:
        value, allowed = (
            f"{context!r}, where {error} is being written",
            "a folder that stays as it is while it is copied",
        )
        remedy = "run Pulumi again"
    except (OSError, RuntimeError, UnicodeDecodeError) as error:
        # Links in a circle are a RuntimeError of pathlib's before Python 3.13; an ignore file is UTF-8.
        value, allowed = (
            f"{context!r}: {error}",
            f"a folder that can be read, to be copied to {FOLDER}/ in the project's",
        )
        remedy = "let the user that runs Pulumi read the one and write the other"
    raise ArgumentError(f"Image {name!r}", Mistake(name="context", value=value, allowed=allowed, remedy=remedy))
