"""The stand-in for the `docker` provider."""
