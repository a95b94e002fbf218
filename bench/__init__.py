"""Measures the service against its peers, on one machine: ``python -m bench``."""
