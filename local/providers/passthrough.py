"""The plugin of a package that has no stand-in.

A preview passes its resources through; everything else is an error that names the type or the function.
"""

from __future__ import annotations

from pulumi.provider.experimental.provider import ParameterizeRequest, ParameterizeResponse, ParametersValue

from local.providers.standin import StandIn


class Passthrough(StandIn):
    """Knows no type and no function."""

    async def parameterize(self, request: ParameterizeRequest) -> ParameterizeResponse:
        # A bridged Terraform provider: the package is a value of the bridge's own plugin.
        value = request.parameters
        if not isinstance(value, ParametersValue):
            raise ValueError(f"{self._package}: a stand-in is parameterized by an installed SDK only")
        return ParameterizeResponse(value.name, value.version)

    def _unknown(self, what: str, token: str) -> str:
        return (
            f"{token}: there is no stand-in for the package {self._package}, so that this {what} works with the real "
            "provider only. A preview passes resources through, but has no results of functions: "
            f"add local/providers/{self._package}, or deploy this stack with the real provider."
        )
