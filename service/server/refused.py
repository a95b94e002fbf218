from __future__ import annotations


class Refused(Exception):
    """What arrives is not served: the answer has ``status``, and ``detail`` says what is wrong and what is allowed."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
