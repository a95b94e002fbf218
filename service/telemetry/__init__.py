"""What whoever runs the service sees of it: log lines, metrics in them, and traces where they are asked for.

No token, no body and no content of a file is ever in one. Of the rest it knows the settings.
"""
