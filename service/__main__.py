"""Starts one of the service's commands: ``python -m service api | worker | sweep | check``.

Each command imports what it needs and nothing else: the start of a task is time that a deployment waits for.

Exit codes: 0 done, 1 failed while running, 2 wrong command line or configuration. All but the check, which answers the
container runtime, tell what went wrong as log lines do: what reads them is the same, whatever a task died of.
"""

from __future__ import annotations

import logging
import os
import sys

USAGE = "python -m service api | worker | sweep | check"


def main(arguments: list[str]) -> int:
    if len(arguments) != 1 or arguments[0] not in ("api", "worker", "sweep", "check"):
        given = " ".join(arguments) or "nothing"
        return _refuse("exactly one command is expected", given=given, usage=USAGE)
    command = arguments[0]
    if command == "check":
        from service.http.check import check

        return check(os.environ)

    from service.settings import ApiSettings, SettingsError, SweepSettings, WorkerSettings

    try:
        if command == "api":
            api_settings = ApiSettings.from_env(os.environ)
            from service.api.run import run_api

            return run_api(api_settings)
        if command == "worker":
            worker_settings = WorkerSettings.from_env(os.environ)
            from service.worker.run import run_worker

            return run_worker(worker_settings)
        sweep_settings = SweepSettings.from_env(os.environ)
        from service.files.sweep import run_sweep

        return run_sweep(sweep_settings)
    except SettingsError as error:
        return _refuse("the environment is not a valid configuration", command=command, mistakes=error.mistakes)


def _refuse(message: str, **fields: object) -> int:
    from service.telemetry import logs

    # The level that is wished for may be what is wrong.
    logs.configure("info")
    logging.getLogger("service").error(message, extra={"fields": fields})
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
