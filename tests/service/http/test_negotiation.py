from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.http.negotiation import choose

JSON, HTML = "application/json", "text/html"
# Firefox's and Chrome's, as MDN's list of default values has them.
FIREFOX = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
CHROME = (
    "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8,"
    "application/signed-exchange;v=b3;q=0.7"
)


@pytest.mark.parametrize(
    "accept",
    [
        *(None, "", " , ", "*/*", "application/json", "application/*", "text/html, application/json"),
        *("text/html;q=0.9, application/json", "text/html;q=0.5, */*", "*/*;q=0.1, text/html;q=0.05"),
        # Nothing of what there is, another form of it, and what can't be read.
        *("image/png", "text/html;q=0", "text/html;level=1", "text/html;q=2", "text/html;q=", "html", "text", ";;"),
    ],
)
def test_the_first_is_answered_unless_another_is_preferred(accept: str | None) -> None:
    assert choose(accept, (JSON, HTML)) == JSON


@pytest.mark.parametrize(
    "accept",
    [
        *("text/html", "TEXT/HTML", "text/*", FIREFOX, CHROME, "text/html;charset=utf-8", 'text/html;charset="UTF-8"'),
        *(", ,text/html;q=0.001", "application/json;q=0.5, text/html; q=0.6", "application/json;q=0, */*;q=0.1"),
        # The most specific range counts, whichever comes first and weighs more.
        *("application/json;q=0.1, application/*, text/html;q=0.2", "*/*;q=0.9, application/json;q=0.1"),
        # What follows the weight is an extension, and a comma within quotes ends no range.
        *("text/html;q=0.5;x=y", 'x/y;z=",application/json,", text/html'),
    ],
)
def test_what_weighs_more_is_answered(accept: str) -> None:
    assert choose(accept, (JSON, HTML)) == HTML


@given(st.text("*/;,=q.01 \"htmljson'"))
def test_no_text_breaks_it(accept: str) -> None:
    assert choose(accept, (JSON, HTML)) in (JSON, HTML)
