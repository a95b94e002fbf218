"""The real Pulumi engine, driven from here: the project's program, a file backend, the stand-in providers."""

from __future__ import annotations

import os
import runpy
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pulumi.automation as automation
import yaml

from local.engine_stack import EngineStack
from local.paths import PROJECT_ROOT, LocalPaths
from local.providers import passed_through, plugin_process
from local.providers.aws.real import CLOUD_ENDPOINT_VARIABLE
from local.providers.installed import installed_packages
from local.providers.passed_through import PassedThrough
from local.providers.serve import ProviderServer
from local.stack_file import StackFile, StackFileError, is_encrypted
from local.transcript import Transcript

LOCAL_STACK = "local"

Output = Callable[[str], None]

# A first deployment makes a hundred resources; a deployed change touches a few.
_MOST_RESOURCES = 12


class EngineFailed(Exception):
    """The engine gave up; the message is what it said."""


class Secret(str):
    """A configuration value that the engine is to encrypt."""


@dataclass(frozen=True)
class Engine:
    """Runs one stack of the project at a time.

    `cloud_endpoint` is where resources of the local stack are made for real; without it only previews work. `config` adds
    to or replaces values of the stack file (keys without a namespace are the project's); a `Secret` is encrypted. `root` is
    the project's folder.

    `refreshes` says whether each plan and deployment reads everything back first, as Pulumi.yaml asks for on AWS. Here
    nobody but the engine changes the embedded AWS, and what ECS runs is looked at anyway: it would double the time.
    """

    executable: Path
    paths: LocalPaths
    cloud_endpoint: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    root: Path = PROJECT_ROOT
    output: Output = print
    refreshes: bool = False

    def up(self, stack: str = LOCAL_STACK, *, refresh: bool = False, plan: Path | None = None) -> Mapping[str, int]:
        """Deploys the stack. Returns how many resources were created, updated, … Raises `EngineFailed`.

        `refresh` reads first what there really is; `plan` is a file that `preview` has saved, and nothing else is done than
        what it says.
        """
        with _failures("the deployment", shown=True), self._stack(stack) as opened:
            result = opened.up(
                refresh=refresh or None,
                plan=str(plan) if plan else None,
                on_output=self._line(most=_MOST_RESOURCES),
                on_error=self._line(),
                on_event=opened.note,
                suppress_progress=True,
                color="never",
            )
        return {str(op): count for op, count in (result.summary.resource_changes or {}).items()}

    def preview(
        self, stack: str, *, quiet: bool = False, refresh: bool = False, save_plan: Path | None = None
    ) -> Mapping[str, int]:
        """Plans the stack without changing anything. Returns the planned number of each operation.

        `refresh` reads first what there really is; `save_plan` is a file to write the plan to, for `up`. What the stand-ins
        passed through is told after the plan.
        """
        with _failures("the plan", shown=not quiet), self._stack(stack, preview=True) as opened:
            result = opened.preview(
                refresh=refresh or None,
                plan=str(save_plan) if save_plan else None,
                on_output=self._line(quiet),
                on_error=self._line(quiet),
                suppress_progress=True,
                color="never",
            )
        if (note := self._passed_through.take()) and not quiet:
            self.output(note)
        return {str(getattr(op, "value", op)): count for op, count in result.change_summary.items()}

    def plan(self, stack: str) -> list[dict[str, Any]]:
        """What a preview would do, a step each: `op`, `type`, `name` and the `inputs` as far as they are known."""
        steps: list[dict[str, Any]] = []

        def note(event: automation.EngineEvent) -> None:
            step = event.resource_pre_event.metadata if event.resource_pre_event else None
            # What a refresh reads before the plan is no part of it.
            if step is not None and step.op != automation.OpType.REFRESH:
                name = step.urn.rpartition("::")[2]
                inputs = dict(step.new.inputs or {}) if step.new else {}
                steps.append(
                    {"op": str(getattr(step.op, "value", step.op)), "type": step.type, "name": name, "inputs": inputs}
                )

        with _failures("the plan", shown=False), self._stack(stack, preview=True) as opened:
            opened.preview(on_event=note, suppress_progress=True, color="never")
        return steps

    def refresh(self, stack: str = LOCAL_STACK) -> Mapping[str, int]:
        """Makes the state agree with what there really is. Returns how many resources were found changed, …"""
        with _failures("the refresh", shown=True), self._stack(stack) as opened:
            result = opened.refresh(
                on_output=self._line(most=_MOST_RESOURCES),
                on_error=self._line(),
                on_event=opened.note,
                suppress_progress=True,
                color="never",
            )
        return {str(op): count for op, count in (result.summary.resource_changes or {}).items()}

    def destroy(self, stack: str = LOCAL_STACK) -> None:
        """Deletes everything that the stack has deployed; the stack itself stays, empty."""
        with _failures("the deletion", shown=True), self._stack(stack) as opened:
            opened.destroy(on_output=self._line(), on_error=self._line(), suppress_progress=True, color="never")

    def deployment(self, stack: str = LOCAL_STACK) -> dict[str, Any]:
        """The stack's state with its secrets opened: `resources`, `pending_operations`, … Empty for a new stack."""
        if not self._state_file(stack).exists():
            return {}
        with _failures("reading the state", shown=False), self._stack(stack) as opened:
            # stack export in the automation API opens secrets as well.
            exported = opened.export_stack()
        return dict(exported.deployment or {})

    def replace_deployment(self, deployment: Mapping[str, Any], stack: str = LOCAL_STACK) -> None:
        """Writes the stack's state."""
        with _failures("writing the state", shown=False), self._stack(stack) as opened:
            opened.import_stack(automation.Deployment(version=3, deployment=dict(deployment)))

    def config_value(self, stack: str, key: str) -> Any:
        """A value of the stack's configuration as it is written; None when it isn't. Raises `EngineFailed`."""
        value = self._config(stack).get(key)
        return value.value if isinstance(value, yaml.ScalarNode) else value

    def unlock(self, stack: str = LOCAL_STACK) -> None:
        """Takes away the lock that a killed engine has left behind. Only for who knows that no engine runs."""
        shutil.rmtree(
            self.paths.state / ".pulumi" / "locks" / "organization" / self._project()["name"] / stack,
            ignore_errors=True,
        )

    @property
    def _passed_through(self) -> PassedThrough:
        return PassedThrough(self.paths.workspace / "passed-through")

    @contextmanager
    def _stack(self, name: str, *, preview: bool = False) -> Iterator[EngineStack]:
        """The stack with this engine's configuration, and the providers for what is done with it."""
        workspace = self._workspace(name)
        with ProviderServer(self._provider_settings(preview)) as providers:
            stack = EngineStack(
                name,
                exists=self._state_file(name).exists(),
                executable=self.executable,
                workspace=workspace,
                home=self._home,
                program=self._program,
                environment=self._environment() | providers.environment,
            )
            secret = {key: value for key, value in self._config(name).items() if isinstance(value, Secret)}
            if secret:
                stack.set_all_config(
                    {key: automation.ConfigValue(str(value), secret=True) for key, value in secret.items()}
                )
            yield stack

    def _program(self) -> None:
        """Runs `__main__.py` as the Python language host would: as the main module."""
        runpy.run_path(str(self.root / "__main__.py"), run_name="__main__")

    def _project(self) -> dict[str, Any]:
        loaded: dict[str, Any] = yaml.safe_load((self.root / "Pulumi.yaml").read_text())
        return loaded

    def _state_file(self, stack: str) -> Path:
        return self.paths.state / ".pulumi" / "stacks" / str(self._project()["name"]) / f"{stack}.json"

    def _workspace(self, stack: str) -> Path:
        """A working copy of the project file and the stack file: the engine writes its salt into the latter."""
        folder = self.paths.workspace
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self.root / "Pulumi.yaml", folder / "Pulumi.yaml")
        copy = folder / f"Pulumi.{stack}.yaml"
        previous = yaml.load(copy.read_text(), Loader=yaml.BaseLoader) if copy.is_file() else {}
        config = {key: value for key, value in self._config(stack).items() if not isinstance(value, Secret)}
        others = dict.fromkeys(("secretsprovider", "encryptedkey"), "")
        others["encryptionsalt"] = (previous or {}).get("encryptionsalt", "")
        copy.write_text(self._stack_file(stack).text(config, others))
        return folder

    def _config(self, stack: str) -> dict[str, Any]:
        """The stack file's configuration, as nodes, with this engine's own changes, as values.

        What the file holds encrypted stands as a placeholder: a plan must not need its owner's keys.
        """
        project = self._project()["name"]
        written = {
            key if ":" in key else f"{project}:{key}": Secret("encrypted-in-the-stack-file")
            if is_encrypted(node)
            else node
            for key, node in self._stack_file(stack).config.items()
        }
        return written | {key if ":" in key else f"{project}:{key}": value for key, value in self.config.items()}

    def _stack_file(self, stack: str) -> StackFile:
        """Raises `EngineFailed` when there is none, and for what is none."""
        file = self.root / f"Pulumi.{stack}.yaml"
        if not file.is_file():
            known = sorted(other.name.split(".")[1] for other in self.root.glob("Pulumi.*.yaml"))
            raise EngineFailed(f"STACK={stack}: there is no {file.name}; there are {', '.join(known)}")
        try:
            return StackFile.read(file)
        except StackFileError as error:
            raise EngineFailed(str(error)) from error

    def _provider_settings(self, preview: bool) -> dict[str, str | None]:
        """The variables by which the stand-ins know where they are."""
        if preview:
            # Of a preview that was killed.
            self._passed_through.take()
        return {
            "LOCAL_DIR": str(self.paths.folder),
            CLOUD_ENDPOINT_VARIABLE: self.cloud_endpoint,
            passed_through.VARIABLE: str(self._passed_through.file) if preview else None,
        }

    def _environment(self) -> dict[str, str]:
        self.paths.state.mkdir(parents=True, exist_ok=True)
        self._install_plugins()
        return {
            # Beside each file the store of files (gocloud.dev/blob/fileblob, attrs.go) would write another in place: an
            # engine that is killed meanwhile leaves it empty, and no command could read the state any more.
            "PULUMI_BACKEND_URL": f"file://{self.paths.state}?metadata=skip",
            "PULUMI_CONFIG_PASSPHRASE": self._passphrase(),
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
            # Stands for the flag that isn't given (pulumi/pulumi, pkg/cmd/pulumi/env.go).
            "PULUMI_OPTION_REFRESH": str(self.refreshes).lower(),
        }

    def _passphrase(self) -> str:
        """The local state's secrets are encrypted with a passphrase of this checkout."""
        file = self.paths.folder / "passphrase"
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            partial = file.with_suffix(f".{os.getpid()}")
            partial.touch(mode=0o600)
            partial.write_text(secrets.token_urlsafe(32))
            partial.replace(file)
        return file.read_text()

    def _install_plugins(self) -> None:
        """Puts a stand-in where the engine keeps the plugin of each SDK, of exactly the version that it asks for."""
        for package in installed_packages():
            folder = self._home / "plugins" / f"resource-{package.name}-v{package.version}"
            script = folder / f"pulumi-resource-{package.name}"
            text = (
                f'#!/bin/sh\nexec "{sys.executable}" -I -S "{plugin_process.__file__}" '
                f'{package.name} {package.version} "$@"\n'
            )
            if not script.exists() or script.read_text() != text:
                folder.mkdir(parents=True, exist_ok=True)
                partial = script.with_suffix(f".{os.getpid()}")
                partial.write_text(text)
                partial.chmod(0o755)
                partial.replace(script)

    @property
    def _home(self) -> Path:
        return self.paths.folder / "pulumi-home"

    def _line(self, quiet: bool = False, most: int | None = None) -> Output:
        return (lambda line: None) if quiet else Transcript(self.output, most).line


@contextmanager
def _failures(what: str, *, shown: bool) -> Iterator[None]:
    """Turns the automation API's errors into `EngineFailed`; `shown` says that the engine's own words are out already."""
    try:
        yield
    except automation.CommandError as error:
        raise EngineFailed(f"{what} failed, for the reasons above" if shown else str(error)) from error
