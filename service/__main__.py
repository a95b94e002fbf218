"""Starts one of the service's commands: ``python -m service api | worker | sweep | check``.

Each command imports what it needs and nothing else: the start of a task is time that a deployment waits for.

Exit codes: 0 done, 1 failed while running, 2 wrong command line or configuration.
"""

from __future__ import annotations

import os
import sys

USAGE = "usage: python -m service api | worker | sweep | check"


def main(arguments: list[str]) -> int:
    if len(arguments) != 1 or arguments[0] not in ("api", "worker", "sweep", "check"):
        given = " ".join(arguments) or "nothing"
        print(f"service: exactly one command is expected, given: {given}\n{USAGE}", file=sys.stderr)
        return 2
    command = arguments[0]
    if command == "check":
        from service.check import check

        return check(os.environ)

    from service.settings import ApiSettings, SettingsError, SweepSettings, WorkerSettings

    try:
        if command == "api":
            api_settings = ApiSettings.from_env(os.environ)
            from service.server import run_api

            return run_api(api_settings)
        if command == "worker":
            worker_settings = WorkerSettings.from_env(os.environ)
            from service.worker import run_worker

            return run_worker(worker_settings)
        sweep_settings = SweepSettings.from_env(os.environ)
        from service.sweep import run_sweep

        return run_sweep(sweep_settings)
    except SettingsError as error:
        print(f"service {command}: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
