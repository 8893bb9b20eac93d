"""`gateway open` against a running gateway, with a browser and without one."""

from __future__ import annotations

from pathlib import Path

from tests.real.commands import command
from tests.real.process import TOKEN, Gateway, config_text

NOTING = '#!/bin/sh\necho "$1" > {note}\n'


async def test_the_page_is_opened_with_a_code_that_signs_in_once(tmp_path: Path) -> None:
    browser, note = tmp_path / "browser", tmp_path / "opened"
    browser.write_text(NOTING.format(note=note))
    browser.chmod(0o700)
    async with Gateway(tmp_path, config_text()) as gateway:
        done = await command(tmp_path, "open", BROWSER=f"{browser} %s")
        assert done.code == 0
        link, code, said = done.out.splitlines()
        assert link == f"link  {gateway.url}/#code={code.split()[1]}"
        assert said == "It signs in once for you alone, within 60 s."
        assert note.read_text() == f"{link.split()[1]}\n"
        assert TOKEN not in done.out
        answers = [
            await gateway.http("POST", "/api/v1/sign-in", token=None, json={"code": code.split()[1]}) for _ in range(2)
        ]
        assert [status for status, _ in answers] == [200, 401]
        assert (await gateway.http("GET", "/api/v1/status", token=answers[0][1]["token"]))[0] == 200


async def test_where_there_is_no_browser_it_says_so_and_the_link_is_there_all_the_same(tmp_path: Path) -> None:
    async with Gateway(tmp_path, config_text()):
        done = await command(tmp_path, "open", "--json", PATH=str(tmp_path), BROWSER="")
        assert (done.code, done.err) == (
            1,
            "gateway: no browser can be started here; open the link in one that reaches this machine\n",
        )
        assert done.json["link"] == f"{done.json['address']}/#code={done.json['code']}"
        assert done.json["same_user"] is False
        assert (await command(tmp_path, "open", "--print", PATH=str(tmp_path))).code == 0


async def test_without_a_gateway_or_its_token_it_says_so(tmp_path: Path) -> None:
    none = await command(tmp_path, "open", "--print")
    assert (none.code, none.err.startswith("gateway: no gateway runs with the state folder")) == (1, True)
    text = config_text(reload="{mode: off}")
    async with Gateway(tmp_path, text) as gateway:
        gateway.config.write_text(text.replace(TOKEN, "another-token-0123456789"))
        wrong = await command(tmp_path, "open", "--print")
        assert (wrong.code, wrong.out, "takes none of the tokens" in wrong.err) == (1, "", True)
