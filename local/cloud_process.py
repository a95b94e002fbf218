"""The embedded AWS as a child process, and as the runner sees it."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from local.cloud.principals import OPERATOR_ACCESS_KEY_ID, OPERATOR_SECRET_ACCESS_KEY
from local.paths import PROJECT_ROOT
from local.runner.ports import Credentials


class CloudFailed(Exception):
    """The embedded AWS could not be started; the message says why."""


@dataclass
class CloudProcess:
    """One running embedded AWS; the runner's `Cloud`."""

    process: subprocess.Popen[str]
    port: int
    region: str
    _clients: dict[tuple[str, str], Any] = field(default_factory=dict)

    @classmethod
    def start(cls, folder: Path, *, region: str, port: int = 0) -> CloudProcess:
        """Starts it on `port` (0: any free one), with what `folder` keeps. Raises `CloudFailed`."""
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "local.cloud.server", "--port", str(port), "--folder", str(folder)]
        with (folder / "server.log").open("w") as log:
            process = subprocess.Popen(
                [*command, "--region", region],
                cwd=PROJECT_ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                # Ctrl-C in the terminal is for the session, which still needs this while its tasks drain.
                start_new_session=True,
            )
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            process.communicate()
            raise CloudFailed(f"the embedded AWS did not start: {(folder / 'server.log').read_text()[-2000:].strip()}")
        return cls(process, int(json.loads(line)["port"]), region)

    @property
    def endpoint_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def control(self, name: str) -> Any:
        """One of the server's control requests: `restore`, `inventory`, `health`."""
        with urllib.request.urlopen(f"{self.endpoint_url}/_local/{name}", timeout=60) as answer:
            return json.load(answer)

    def stop(self) -> None:
        for client in self._clients.values():
            client.close()
        self._clients.clear()
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()

    def client(self, service: str, credentials: Credentials | None = None) -> Any:
        """A boto3 client, signed by the operator or with the credentials given; closed with the process."""
        key = (service, credentials.access_key_id if credentials else "")
        if key not in self._clients:
            session = boto3.session.Session(
                credentials.access_key_id if credentials else OPERATOR_ACCESS_KEY_ID,
                credentials.secret_access_key if credentials else OPERATOR_SECRET_ACCESS_KEY,
                credentials.session_token if credentials else None,
                region_name=self.region,
            )
            config = Config(retries={"total_max_attempts": 2}, s3={"addressing_style": "path"})
            self._clients[key] = session.client(service, endpoint_url=self.endpoint_url, config=config)
        return self._clients[key]

    async def credentials(self, role_arn: str) -> Credentials:
        """A new session of a deployed role."""
        return await asyncio.to_thread(self.assume, role_arn)

    def assume(self, role_arn: str) -> Credentials:
        answer = self.client("sts").assume_role(RoleArn=role_arn, RoleSessionName="local-task")["Credentials"]
        return Credentials(
            answer["AccessKeyId"], answer["SecretAccessKey"], answer["SessionToken"], answer["Expiration"]
        )

    async def parameter(self, arn_or_name: str, credentials: Credentials) -> str:
        """The value of an SSM parameter, read with these credentials. Raises PermissionError or LookupError."""
        name = arn_or_name.partition(":parameter/")[2] or arn_or_name
        candidates = [name] if not arn_or_name.startswith("arn:") else [name, f"/{name}"]
        missing: Exception | None = None
        for candidate in candidates:
            try:
                return await asyncio.to_thread(self._read_parameter, candidate, credentials)
            except LookupError as error:
                missing = error
        raise missing or LookupError(arn_or_name)

    def _read_parameter(self, name: str, credentials: Credentials) -> str:
        ssm = self.client("ssm", credentials)
        try:
            # As ECS's agent asks for them.
            answer = ssm.get_parameters(Names=[name], WithDecryption=True)
        except ClientError as error:
            raise PermissionError(str(error)) from error
        if not answer["Parameters"]:
            raise LookupError(f"there is no parameter {name}")
        return str(answer["Parameters"][0]["Value"])
