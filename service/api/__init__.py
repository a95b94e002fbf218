"""The API's process: what it is made of (`app`), and how it starts, serves, drains and stops (`run`).

The one place that knows both the routes and what they work with: it puts the rooms together, and nothing imports it but
the command. Nothing of a request is decided here.
"""
