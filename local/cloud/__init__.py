"""The embedded AWS: moto's services behind a gate that checks signatures and enforces IAM policies, kept over restarts."""
