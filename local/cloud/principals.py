"""Who may sign requests to the embedded AWS: one operator, and sessions of the deployed roles."""

from __future__ import annotations

import secrets
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from local.cloud.actions import Account, role_name

# What people try first against an AWS on their own machine; the server listens on loopback only.
OPERATOR_ACCESS_KEY_ID = "test"
OPERATOR_SECRET_ACCESS_KEY = "test"
# The account of the embedded AWS; it says itself that it is none of anybody's.
ACCOUNT_ID = "123456789012"

_KEY_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"


@dataclass(frozen=True)
class Principal:
    """`role` is None for the operator, who may do everything."""

    access_key_id: str
    secret_access_key: str
    arn: str
    role: str | None = None
    role_identity: str | None = None
    session_token: str | None = None
    expiration: datetime | None = None


@dataclass
class Principals:
    account: Account
    _sessions: dict[str, Principal] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def operator(self) -> Principal:
        arn = f"arn:{self.account.partition}:iam::{self.account.account_id}:user/operator"
        return Principal(OPERATOR_ACCESS_KEY_ID, OPERATOR_SECRET_ACCESS_KEY, arn)

    def assume(self, role_arn: str, role_identity: str, session_name: str, duration_seconds: int) -> Principal:
        """A new session of the role that has this unique id. Raises ValueError for what is no role's ARN."""
        role = role_name(role_arn)
        principal = Principal(
            access_key_id="ASIA" + "".join(secrets.choice(_KEY_ALPHABET) for _ in range(16)),
            secret_access_key=secrets.token_urlsafe(30),
            arn=f"arn:{self.account.partition}:sts::{self.account.account_id}:assumed-role/{role}/{session_name}",
            role=role,
            role_identity=role_identity,
            session_token=secrets.token_urlsafe(48),
            expiration=datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=duration_seconds),
        )
        with self._lock:
            now = datetime.now(UTC)
            for key in [k for k, s in self._sessions.items() if s.expiration is not None and s.expiration < now]:
                del self._sessions[key]
            self._sessions[principal.access_key_id] = principal
        return principal

    def find(self, access_key_id: str) -> Principal | None:
        if access_key_id == OPERATOR_ACCESS_KEY_ID:
            return self.operator()
        with self._lock:
            return self._sessions.get(access_key_id)
