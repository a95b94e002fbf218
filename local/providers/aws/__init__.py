"""The stand-in for the `aws` provider."""
