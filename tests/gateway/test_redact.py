"""What keeps secrets out of every output."""

from __future__ import annotations

import copy
import json
import traceback
from urllib.parse import quote

import pytest

from gateway.redact import MARK, Redactor, Secret

TOKEN = "1001:AAF-secret"


@pytest.fixture
def redactor() -> Redactor:
    redactor = Redactor()
    redactor.learn([TOKEN])
    return redactor


def test_a_secret_is_replaced_wherever_it_stands_in_a_text(redactor: Redactor) -> None:
    assert redactor.text(f"POST /bot{TOKEN}/getUpdates {TOKEN}") == f"POST /bot{MARK}/getUpdates {MARK}"
    assert redactor.text("nothing here") == "nothing here"
    assert Redactor().text(TOKEN) == TOKEN


def test_data_is_redacted_to_its_leaves_keys_included(redactor: Redactor) -> None:
    data = {"a": [f"x{TOKEN}", ({TOKEN: 1},)], "n": 1, "none": None, "yes": True, "secret": Secret("whatever")}
    assert redactor.tree(data) == {
        "a": [f"x{MARK}", [{MARK: 1}]], "n": 1, "none": None, "yes": True, "secret": MARK,
    }  # fmt: skip


def test_the_longer_secret_goes_first(redactor: Redactor) -> None:
    redactor.learn([f"{TOKEN}-and-more", "AAF-secret"])
    assert redactor.text(f"<{TOKEN}-and-more>") == f"<{MARK}>"


def test_a_secret_is_no_pattern(redactor: Redactor) -> None:
    redactor.learn(["a.c+(d)*", r"\d{6}\w"])
    assert redactor.text("abcc(d) 123456x") == "abcc(d) 123456x"
    assert redactor.text(r"a.c+(d)* \d{6}\w") == f"{MARK} {MARK}"


def test_a_secret_is_never_forgotten(redactor: Redactor) -> None:
    redactor.learn(["a-newer-token"])
    redactor.learn([])
    assert redactor.text(f"{TOKEN} a-newer-token") == f"{MARK} {MARK}"


def test_what_is_too_short_for_a_secret_is_not_searched_for(redactor: Redactor) -> None:
    redactor.learn(["", "a", "12345"])
    assert redactor.text("a 12345 b") == "a 12345 b"
    redactor.learn(["123456"])
    assert redactor.text("a 123456 b") == f"a {MARK} b"


@pytest.mark.parametrize("secret", [TOKEN, "a/b+c=d&e%f", 'it\'s "quoted" \\ and', "schlüssel-ß", "half-\udc80"])
def test_it_is_found_in_every_form_in_which_it_may_be_written(secret: str) -> None:
    redactor = Redactor()
    redactor.learn([secret])
    in_an_address = secret.encode(errors="replace").decode()
    forms = [
        secret,
        repr(secret),
        f"{[secret]}",
        json.dumps(secret),
        json.dumps(secret, ensure_ascii=False),
        json.dumps(f"{[secret]}"),
    ]
    forms += [quote(in_an_address), quote(in_an_address, safe="")]
    for form in forms:
        shown = redactor.text(f"<{form}>")
        assert MARK in shown, form
        assert len(shown) <= len(MARK) + 10, form


# A secret itself


def test_a_secret_shows_itself_to_nobody_but_who_asks_by_name() -> None:
    secret = Secret(TOKEN)
    assert secret.reveal() == TOKEN
    for shown in (repr(secret), str(secret), f"{secret}", f"{secret!s:>40}", repr([secret]), repr({"token": secret})):
        assert TOKEN not in shown
        assert MARK in shown
    with pytest.raises(TypeError):
        json.dumps(secret)


def test_a_secret_in_a_traceback_is_not_shown() -> None:
    with pytest.raises(ValueError) as caught:
        raise ValueError(Secret(TOKEN))
    assert TOKEN not in "".join(traceback.format_exception(caught.value))


def test_secrets_are_compared_by_what_they_hide() -> None:
    assert Secret(TOKEN) == Secret(TOKEN)
    assert Secret(TOKEN) != Secret("another")
    assert Secret(TOKEN) != TOKEN
    assert len({Secret(TOKEN), Secret(TOKEN), Secret("another")}) == 2
    assert copy.deepcopy(Secret(TOKEN)) == Secret(TOKEN)
