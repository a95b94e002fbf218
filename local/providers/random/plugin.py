"""The stand-in `random` provider: passwords. It needs no cloud, so that what it makes is as good as the real one's."""

from __future__ import annotations

from local.providers.kind import ResourceKind
from local.providers.random.password import Password
from local.providers.standin import StandIn


class RandomStandIn(StandIn):
    def __init__(self) -> None:
        super().__init__("random")

    def kind_of(self, token: str) -> ResourceKind | None:
        return Password() if token == "random:index/randomPassword:RandomPassword" else None
