"""The config file as people and tools really change it: every way is seen once, and nothing of the file's own is lost."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.fakes.telegram import Bot, FakeTelegram
from tests.real.process import Gateway, config_text, side_by_side, telegram_account

BOT = "1001:a-bots-secret-0001"
MAIN = "telegram/main"
FAST = "{mode: hybrid, debounce_ms: 100}"


def revision_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def of_bot(telegram: FakeTelegram, bot: Bot, seconds: int = 20) -> str:
    return config_text(telegram_account("main", bot.token, telegram.url, poll_timeout_s=seconds), reload=FAST)


def at(path: Path) -> Gateway:
    """A gateway whose config is at a path of its own, below the working folder."""
    folder = path.parent
    while folder.name in ("conf", "mount"):
        folder = folder.parent
    gateway = Gateway(folder, None, command=[sys.executable, "-m", "gateway", "--config", str(path)])
    gateway.config = path
    return gateway


async def runs(gateway: Gateway, generation: int, text: str) -> None:
    """The account runs in this generation with this text, and the gateway is at rest."""

    def holds(status: dict[str, Any]) -> bool:
        (account,) = [found for found in status["accounts"] if found["channel"] == "telegram"]
        return (
            status["state"] == "running"
            and (account["state"], account["generation"]) == ("running", generation)
            and status["config"]["applied"] == status["config"]["on_disk"] == revision_of(text)
        )

    await gateway.until(holds)


def untouched(gateway: Gateway, bot: Bot, starts: int) -> None:
    """No more starts than that, no rejection on the way, never two receivers."""
    assert gateway.starts(MAIN) == starts
    assert [line for line in gateway.log if line.get("trigger") == "config_rejected"] == []
    assert bot.stats.overlaps == bot.stats.conflicts_self == 0
    assert len(gateway.boots) == 1


# Ways of writing: each is called with the path and the new text.


def write_in_place(path: Path, text: str) -> None:
    path.write_text(text)


def write_in_place_slowly(path: Path, text: str) -> None:
    with path.open("w") as file:
        for line in text.splitlines(keepends=True):
            file.write(line)
            file.flush()


def rename_over(path: Path, text: str) -> None:
    fresh = path.with_name("fresh")
    fresh.write_text(text)
    fresh.replace(path)


def rename_over_from_elsewhere(path: Path, text: str) -> None:
    fresh = path.parent.parent / "fresh"
    fresh.write_text(text)
    fresh.replace(path)


def save_as_vim_does(path: Path, text: str) -> None:
    backup = path.with_name(path.name + "~")
    path.rename(backup)
    path.write_text(text)
    backup.unlink()


def delete_and_create(path: Path, text: str) -> None:
    path.unlink()
    path.write_text(text)


def link_to_another(path: Path, text: str) -> None:
    """The file becomes a symlink to another one."""
    target = path.with_name(f"target-{revision_of(text)[:8]}.yaml")
    target.write_text(text)
    link = path.with_name("link")
    link.symlink_to(target.name)
    link.replace(path)


def replace_the_folder(path: Path, text: str) -> None:
    """The folder itself is replaced: inotify, which watches the old one, sees nothing."""
    old, new = path.parent, path.parent.with_name("new")
    new.mkdir()
    (new / path.name).write_text(text)
    old.rename(old.with_name(f"old-{revision_of(text)[:8]}"))
    new.rename(old)


def remove_the_folder(path: Path, text: str) -> None:
    shutil.rmtree(path.parent)
    path.parent.mkdir()
    path.write_text(text)


def write_a_storm(path: Path, text: str) -> None:
    """Five hundred saves within moments, the last of them valid."""
    for number in range(500):
        rename_over(path, text if number == 499 else text + f"# {number}\n")


WAYS: tuple[Callable[[Path, str], None], ...] = (
    write_in_place,
    write_in_place_slowly,
    rename_over,
    rename_over_from_elsewhere,
    save_as_vim_does,
    delete_and_create,
    link_to_another,
    replace_the_folder,
    remove_the_folder,
    write_a_storm,
)


async def test_case_61_every_way_of_changing_the_file_is_seen_once(tmp_path: Path) -> None:
    """In place, by rename, by an editor, by deleting, by linking, with the whole folder, in a storm; twice each, since
    what replaces the file or its folder may blind the watcher for the next time. (case 61, case 62)"""

    async def scenario(number: int, way: Callable[[Path, str], None], telegram: FakeTelegram) -> None:
        bot = telegram.add_bot(f"{2000 + number}:a-bots-secret", way.__name__)
        path = tmp_path / way.__name__ / "conf" / "gateway.yaml"
        path.parent.mkdir(parents=True)
        path.write_text(of_bot(telegram, bot))
        async with at(path) as gateway:
            await runs(gateway, 1, of_bot(telegram, bot))
            for generation, seconds in ((2, 21), (3, 22)):
                text = of_bot(telegram, bot, seconds)
                await asyncio.to_thread(way, path, text)
                await runs(gateway, generation, text)
                await asyncio.sleep(0.5)
            await asyncio.sleep(2.2)  # one more look of the watcher's own
            await runs(gateway, 3, text)
            assert gateway.starts(MAIN) == 3
            assert bot.stats.poll_log[-1].timeout_param == 22
            untouched(gateway, bot, 3)

    async with FakeTelegram() as telegram:
        await side_by_side(
            {way.__name__: scenario(number, way, telegram) for number, way in enumerate(WAYS)}, at_once=5
        )


async def test_case_61_a_configmap_is_followed(tmp_path: Path) -> None:
    """As Kubernetes mounts a ConfigMap: the file links to `..data/`, `..data` to a folder with a date, and an update swaps
    `..data`, again and again. The gateway is started with the linked path, and keeps following it."""
    async with FakeTelegram() as telegram:
        bot = telegram.add_bot(BOT, "main_bot")
        mount = tmp_path / "mount"
        mount.mkdir()

        def publish(version: int, text: str) -> None:
            folder = mount / f"..2026_01_0{version}"
            folder.mkdir()
            (folder / "gateway.yaml").write_text(text)
            (mount / "..data_tmp").symlink_to(folder.name)
            (mount / "..data_tmp").replace(mount / "..data")
            if version > 1:
                shutil.rmtree(mount / f"..2026_01_0{version - 1}")

        publish(1, of_bot(telegram, bot))
        (mount / "gateway.yaml").symlink_to("..data/gateway.yaml")
        async with at(mount / "gateway.yaml") as gateway:
            await runs(gateway, 1, of_bot(telegram, bot))
            for version in (2, 3, 4):
                text = of_bot(telegram, bot, 20 + version)
                publish(version, text)
                await runs(gateway, version, text)
            # The same content under another name is no change.
            publish(5, text)
            await asyncio.sleep(3)
            await runs(gateway, 4, text)
            untouched(gateway, bot, 4)


async def test_case_60_a_symlinked_config_stays_one_after_a_patch(tmp_path: Path) -> None:
    """The path is a symlink to a file elsewhere: a patch writes that file, and the link, its mode and owner stay."""
    async with FakeTelegram() as telegram:
        bot = telegram.add_bot(BOT, "main_bot")
        real = tmp_path / "elsewhere" / "real.yaml"
        real.parent.mkdir()
        real.write_text(of_bot(telegram, bot))
        real.chmod(0o640)
        path = tmp_path / "conf" / "gateway.yaml"
        path.parent.mkdir()
        path.symlink_to("../elsewhere/real.yaml")
        async with at(path) as gateway:
            await runs(gateway, 1, of_bot(telegram, bot))
            client = await gateway.client()
            for seconds in (21, 22):
                patch = {"channels": {"telegram": {"accounts": {"main": {"poll_timeout_s": seconds}}}}}
                await client.patch(json.dumps(patch))
                assert path.is_symlink()
                assert str(path.readlink()) == "../elsewhere/real.yaml"
                assert f"poll_timeout_s: {seconds}" in real.read_text()
                assert real.stat().st_mode & 0o7777 == 0o640
                assert [found.name for found in real.parent.iterdir()] == ["real.yaml"]
                assert [found.name for found in path.parent.iterdir()] == ["gateway.yaml"]
            # An edit of the linked file is seen too, though its folder is not the one that is watched.
            text = real.read_text().replace("poll_timeout_s: 22", "poll_timeout_s: 23")
            real.write_text(text)
            await runs(gateway, 4, text)
            untouched(gateway, bot, 4)


STYLED = """\
# A hand-written file: its comments, its order, its quotes and its blank lines are its author's.

handlers:            # first, since that is how I like it
  'echo': {type: "echo"}

routes:
    # everything is echoed
    - channel: '*'
      handler: "echo"   # the only one

gateway:
  restart: {cooldown_ms: 0, delay_ms: 2000}
  admin:
    token: "a-token-for-tests-0123456789"   # not a real one
    port: 0
    writes_per_minute: 0

  name: 'home'

channels:
  telegram:
    accounts:
      # my bot
      main:
        token: '@TOKEN@'      # from @BotFather
        api_base: "@URL@"
        poll_timeout_s: 20          # seconds

        allow_from: ["*", '@ann', 5]   # friends
# the end
"""


async def test_case_60_comments_order_and_quotes_survive_patches(tmp_path: Path) -> None:
    """A patch changes the value that it names, on its line, and not another character; one that sets what is there
    already changes nothing at all."""
    async with FakeTelegram() as telegram:
        bot = telegram.add_bot(BOT, "main_bot")
        text = STYLED.replace("@TOKEN@", BOT).replace("@URL@", telegram.url)
        async with Gateway(tmp_path, text) as gateway:
            gateway.config.chmod(0o604)
            await gateway.until(lambda s: s["state"] == "running")
            client = await gateway.client()
            await client.patch('{"channels": {"telegram": {"accounts": {"main": {"poll_timeout_s": 21}}}}}')
            changed = text.replace("poll_timeout_s: 20 ", "poll_timeout_s: 21 ")
            assert gateway.config.read_text() == changed
            await client.patch('{"gateway": {"name": "elsewhere"}}')
            changed = changed.replace("name: 'home'", "name: 'elsewhere'")
            assert gateway.config.read_text() == changed
            await client.patch('{"gateway": {"name": "elsewhere"}}')
            assert gateway.config.read_text() == changed
            await client.patch('{"gateway": {"log": {"level": "debug"}}}')
            lines = gateway.config.read_text().splitlines()
            assert set(changed.splitlines()) <= set(lines)
            assert gateway.config.stat().st_mode & 0o7777 == 0o604
            # Back again, key and all.
            await client.patch('{"gateway": {"log": null}}')
            assert gateway.config.read_text() == changed
            left = sorted(found.name for found in tmp_path.iterdir())
            assert left == [".gateway", "gateway.yaml", "log"]
            assert bot.stats.overlaps == 0


async def test_case_59_touch_and_chmod_cause_nothing(tmp_path: Path) -> None:
    """A new time, another mode, a reading, a file beside it: no machine moves, and no account notices."""
    async with FakeTelegram() as telegram:
        bot = telegram.add_bot(BOT, "main_bot")
        text = of_bot(telegram, bot, 40)
        path = tmp_path / "conf" / "gateway.yaml"
        path.parent.mkdir()
        path.write_text(text)
        async with at(path) as gateway:
            await runs(gateway, 1, text)
            await bot.wait_polls(2)
            seq, polls = (await gateway.journal())[-1]["seq"], bot.stats.polls
            for _ in range(2):
                path.touch()
                path.chmod(0o600)
                path.read_text()
                path.with_name("another.yaml").write_text("gateway: {name: another}\n")
                path.with_name("gateway.yaml.bak").write_text("not: this: one")
                path.with_name("gateway.yaml.bak").unlink()
                await asyncio.sleep(2.3)
            entries = [entry for entry in await gateway.journal() if entry["seq"] > seq]
            assert [entry for entry in entries if entry["before"] != entry["after"]] == []
            await runs(gateway, 1, text)
            assert bot.stats.polls == polls
            untouched(gateway, bot, 1)


async def test_case_61_where_inotify_cannot_be_had_polling_takes_its_place(tmp_path: Path) -> None:
    """No inotify instance is left on the host: the watcher polls, says so, and an edit is seen all the same."""
    program = (
        "import runpy, watchdog.observers as o\n"
        "def none_left(*a, **k): raise OSError(24, 'inotify instance limit reached')\n"
        "o.Observer = none_left\n"
        "runpy.run_module('gateway', run_name='__main__', alter_sys=True)\n"
    )
    async with FakeTelegram() as telegram:
        bot = telegram.add_bot(BOT, "main_bot")
        text = of_bot(telegram, bot)
        async with Gateway(tmp_path, text, command=[sys.executable, "-c", program]) as gateway:
            await runs(gateway, 1, text)
            assert (await gateway.status())["config"]["watching"] == "polling"
            changed = of_bot(telegram, bot, 21)
            rename_over(gateway.config, changed)
            await runs(gateway, 2, changed)
            untouched(gateway, bot, 2)
