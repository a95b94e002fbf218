"""The stand-in for the `random` provider."""
