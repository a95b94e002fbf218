from __future__ import annotations

import sys

import pytest

from components import ArgumentError, ConfigurationError, Mistake, mistakes_told_once

WRONG = Mistake(name="size", value="7", allowed="1 to 5", remedy="take 5")


@pytest.mark.parametrize("error", [ConfigurationError("prod", [WRONG]), ArgumentError("Oven 'big'", WRONG)])
def test_under_the_language_host_a_mistake_ends_the_program_as_told(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "orig_argv", ["python", "/usr/bin/pulumi-language-python-exec", "--stack", "prod", "."])
    with pytest.raises(SystemExit) as ended, mistakes_told_once():
        raise error
    # What the language host knows as "the user has been told".
    assert ended.value.code == 32
    assert str(error) in capsys.readouterr().err


def test_under_another_host_a_mistake_goes_on_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigurationError), mistakes_told_once():
        raise ConfigurationError("prod", [WRONG])
    assert capsys.readouterr().err == ""


def test_what_is_no_mistake_of_the_user_goes_on_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "orig_argv", ["python", "pulumi-language-python-exec"])
    with pytest.raises(ZeroDivisionError), mistakes_told_once():
        raise ZeroDivisionError
