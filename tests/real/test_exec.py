"""A restart that replaces the program in its process, seen from outside: the PID, the port, the descriptors, who asked, and the signals."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from urllib.parse import urlsplit

import aiohttp
import pytest

from gateway.config.model import TelegramAccount
from gateway.errors import ClaimedError, LockedError
from gateway.process.claims import Claims
from gateway.process.lock import StateLock
from gateway.redact import Secret
from tests.fakes.telegram import FakeTelegram
from tests.real.process import Gateway, config_text, telegram_account

TOKEN = "123456:exec-token"
AT_ONCE = "{mode: exec, delay_ms: 0, cooldown_ms: 0}"
SITE_PACKAGES = next(path for path in sys.path if path.endswith("site-packages"))


def descriptors(gateway: Gateway) -> dict[str, str]:
    """What the process has open, by number."""
    assert gateway.process is not None
    folder = Path(f"/proc/{gateway.process.pid}/fd")
    return {each.name: str(each.readlink()) for each in folder.iterdir() if each.is_symlink()}


async def restart(gateway: Gateway) -> None:
    boots = len(gateway.boots)
    gateway.signal(signal.SIGUSR1)
    await asyncio.wait_for(gateway.ready(boots + 1), 20)


async def outcome_of(gateway: Gateway, request: str) -> str:
    code, found = await gateway.http("GET", f"/api/v1/requests/{request}")
    assert code == 200, found
    return str(found["outcome"])


async def test_the_process_stays_and_who_asked_is_told_by_its_next_image(tmp_path: Path) -> None:
    """The same PID and address, another boot; the request's outcome and the count of restarts are known after it, and the
    account goes on with the next generation."""
    async with FakeTelegram() as telegram:
        bot = telegram.add_bot(TOKEN, "exec_bot")
        text = config_text(telegram_account("main", TOKEN, telegram.url), restart=AT_ONCE)
        async with Gateway(tmp_path, text) as gateway:
            before = await gateway.until(lambda s: s["accounts"][0]["state"] == "running")
            address = gateway.url
            _, asked = await gateway.http("POST", "/api/v1/restart", json={"reason": "new code", "delay_ms": 0})
            await asyncio.wait_for(gateway.ready(2), 20)
            after = await gateway.until(lambda s: s["accounts"][0]["state"] == "running")
            assert (after["process"]["pid"], gateway.url) == (before["process"]["pid"], address)
            assert after["boot"] != before["boot"]
            assert after["restarts"] == 1
            assert after["restart"]["by"] == "exec"
            assert after["accounts"][0]["generation"] == before["accounts"][0]["generation"] + 1
            assert await outcome_of(gateway, asked["id"]) == "done"
            await restart(gateway)
            async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {gateway.token}"}) as session:
                figures = await (await session.get(gateway.url + "/metrics")).text()
            assert 'gateway_restarts_total{reason="call"} 1.0' in figures
            assert 'gateway_restarts_total{reason="signal"} 1.0' in figures
            assert ("running", "restart_pending") in gateway.moves("gateway")
        assert bot.stats.max_in_flight == 1
        assert bot.stats.conflicts_self == 0


async def test_a_hundred_clients_and_twenty_restarts_lose_no_connection(tmp_path: Path) -> None:
    """Clients that open connections as fast as they can: none is refused and none is reset."""
    faults: list[str] = []
    served = [0]

    async def hurry(host: str, port: int) -> None:
        request = f"GET /healthz HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode()
        while True:
            try:
                reader, writer = await asyncio.open_connection(host, port)
            except OSError as error:
                faults.append(repr(error))
                continue
            try:
                writer.write(request)
                answer = await reader.read()
            except OSError as error:
                faults.append(repr(error))
                continue
            finally:
                writer.close()
            served[0] += 1
            if not answer.startswith(b"HTTP/1.1 200"):
                faults.append(repr(answer[:80]))

    async with Gateway(tmp_path, config_text(restart=AT_ONCE)) as gateway:
        place = urlsplit(gateway.url)
        clients = [asyncio.ensure_future(hurry(str(place.hostname), int(place.port or 0))) for _ in range(100)]
        for number in range(20):
            gateway.signal(signal.SIGUSR1)
            await asyncio.wait_for(gateway.ready(number + 2), 60)
        for client in clients:
            client.cancel()
        await asyncio.wait(clients)
    print(f"{served[0]} answered over 20 restarts")
    assert faults == []
    assert served[0] > 1000


async def test_twenty_restarts_leave_nothing_open(tmp_path: Path) -> None:
    """What an image had opened, a watch of the kernel included, is closed with it; children of handlers are reaped."""
    hanging = 'handlers:\n  slow: {type: command, argv: [sleep, "60"], timeout_ms: 60000}\n'
    text = config_text(restart=AT_ONCE).replace("handlers:\n", hanging).replace("handler: echo", "handler: slow")
    async with Gateway(tmp_path, text) as gateway:
        await restart(gateway)
        await gateway.until(lambda s: s["state"] == "running" and s["config"]["watching"] == "inotify")
        baseline = sorted(descriptors(gateway).values())
        for _ in range(18):
            await restart(gateway)
        client = await gateway.client()
        await client.request(
            "chat.send", {"sessionKey": "webchat:default:main", "message": "hang", "idempotencyKey": "1"}
        )
        await gateway.until(lambda s: s["pending"]["messages"] == 1)
        await gateway.http("POST", "/api/v1/restart", json={"force": True, "delay_ms": 0})
        await asyncio.wait_for(gateway.ready(21), 20)
        await gateway.until(lambda s: s["state"] == "running" and s["config"]["watching"] == "inotify")
        assert gateway.process is not None
        states = [state async for state in states_of_children(gateway.process.pid)]
        assert "Z" not in states, "a child of the image before is nobody's"
        assert len(states) <= 1, "a program of a handler went on without its handler"
        kinds = [kind.split(":")[0] for kind in descriptors(gateway).values()]
        assert kinds.count("anon_inode") == [kind.split(":")[0] for kind in baseline].count("anon_inode")


async def test_what_a_wrapper_had_begun_is_left_alone(tmp_path: Path) -> None:
    """`helper & exec python -m gateway`: the helper is a child of ours, and none of our handlers' programs."""
    wrapper = tmp_path / "wrapper"
    wrapper.write_text(f'sleep 600 >&- 2>&- & echo $! > "{tmp_path}/helper"; exec "{sys.executable}" -m gateway "$@"\n')
    async with Gateway(tmp_path, config_text(restart=AT_ONCE), command=["sh", str(wrapper)]) as gateway:
        helper = int((tmp_path / "helper").read_text())
        try:
            await restart(gateway)
            assert Path(f"/proc/{helper}/cmdline").read_bytes().startswith(b"sleep")
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(helper, signal.SIGKILL)


async def states_of_children(pid: int) -> AsyncIterator[str]:
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[1] == str(pid):
            yield fields[0]


async def test_a_program_that_is_gone_leaves_the_old_one_serving(tmp_path: Path) -> None:
    """The interpreter was removed: the request has failed and says why, and everything runs as before, on the same port."""
    python = tmp_path / "python"
    python.symlink_to(Path(sys.executable).resolve())
    async with FakeTelegram() as telegram:
        bot = telegram.add_bot(TOKEN, "exec_bot")
        text = config_text(telegram_account("main", TOKEN, telegram.url), restart=AT_ONCE)
        path = f"{Path(__file__).parents[2]}:{SITE_PACKAGES}"
        gateway = Gateway(tmp_path, text, command=[str(python), "-m", "gateway"], PYTHONPATH=path)
        async with gateway:
            await gateway.until(lambda s: s["accounts"][0]["state"] == "running")
            python.unlink()
            _, asked = await gateway.http("POST", "/api/v1/restart", json={"delay_ms": 0})
            status = await gateway.until(
                lambda s: s["state"] == "running" and s["accounts"][0]["generation"] == 2, timeout=10
            )
            await gateway.until(lambda s: s["accounts"][0]["state"] == "running")
            assert (status["restarts"], len(gateway.boots)) == (0, 1)
            assert await outcome_of(gateway, asked["id"]) == "failed"
            _, found = await gateway.http("GET", f"/api/v1/requests/{asked['id']}")
            assert "cannot be started anew: No such file" in found["why"]
            gateway.signal(signal.SIGHUP)
            bot.push("still there?")
            await bot.wait_sent(1)
        assert bot.stats.max_in_flight == 1


async def test_a_disk_without_room_for_the_next_image_leaves_the_old_one_serving(tmp_path: Path) -> None:
    """Found by an hour of chaos: the next image could not open its store, and nobody was there any more. A limit on the
    size of files stands in for the disk, which an image inherits from the one before it."""
    async with FakeTelegram() as telegram:
        bot = telegram.add_bot(TOKEN, "exec_bot")
        text = config_text(telegram_account("main", TOKEN, telegram.url), restart=AT_ONCE)
        async with Gateway(tmp_path, text) as gateway:
            await gateway.until(lambda s: s["accounts"][0]["state"] == "running")
            assert gateway.process is not None
            pid, (soft, hard) = gateway.process.pid, resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (64, hard))
            _, asked = await gateway.http("POST", "/api/v1/restart", json={"delay_ms": 0})
            while await outcome_of(gateway, asked["id"]) == "pending":
                await asyncio.sleep(0.02)
            _, found = await gateway.http("GET", f"/api/v1/requests/{asked['id']}")
            assert (found["outcome"], len(gateway.boots)) == ("failed", 1)
            assert f"{tmp_path / '.gateway'} has no room for what a start writes" in found["why"]
            await gateway.until(lambda s: s["state"] == "running" and s["accounts"][0]["state"] == "running")
            assert (await gateway.status())["accounts"][0]["generation"] == 1, "its receiver was left alone"
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))
            await restart(gateway)
            bot.push("still there?")
            await bot.wait_sent(1)
        assert bot.stats.max_in_flight == 1


async def test_new_code_is_picked_up(tmp_path: Path) -> None:
    """A handler's package that was upgraded on disk is the new one after the restart, and is not before."""
    (tmp_path / "answers.py").write_text("VERSION = 1\n")
    (tmp_path / "my_bot.py").write_text(
        "import answers\ndef answer(message):\n    return f'version {answers.VERSION}'\n"
    )
    text = config_text(restart=AT_ONCE).replace("{type: echo}", '{type: python, target: "my_bot:answer"}')
    path = f"{Path(__file__).parents[2]}:{tmp_path}"

    async def ask(gateway: Gateway) -> str:
        client = await gateway.client()
        key = str(Random().random())
        await client.request("chat.send", {"sessionKey": "webchat:default:main", "message": "?", "idempotencyKey": key})
        async with asyncio.timeout(20):
            while True:
                history = await client.request("chat.history", {"sessionKey": "webchat:default:main"})
                said = [str(each) for each in history["messages"]]
                if len(said) % 2 == 0 and said:
                    return said[-1]
                await asyncio.sleep(0.02)

    async with Gateway(tmp_path, text, PYTHONPATH=path, PYTHONDONTWRITEBYTECODE="1") as gateway:
        assert "version 1" in await ask(gateway)
        (tmp_path / "answers.py").write_text("VERSION = 22\n")
        await restart(gateway)
        assert "version 22" in await ask(gateway)


async def test_another_port_is_opened_before_the_old_one_is_given_up(tmp_path: Path) -> None:
    """A port that is taken fails the restart, and everything goes on; a free one is served by the next image."""
    async with Gateway(tmp_path, config_text(restart=AT_ONCE)) as gateway:
        server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
        taken = server.sockets[0].getsockname()[1]
        await gateway.edit(lambda text: text.replace("port: 0", f"port: {taken}"))
        await gateway.until(lambda s: s["state"] == "running" and s["config"]["drift"])
        assert len(gateway.boots) == 1
        server.close()
        await server.wait_closed()
        gateway.signal(signal.SIGUSR1)
        await asyncio.wait_for(gateway.ready(2), 20)
        assert urlsplit(gateway.url).port == taken
        assert (await gateway.status())["config"]["drift"] is False


@pytest.mark.parametrize("seed", [1, 2])
async def test_signals_as_thick_as_one_in_ten_milliseconds(tmp_path: Path, seed: int) -> None:
    """Over ten restarts: none kills it, none is lost entirely, and SIGTERM in the middle of them ends it with 0."""
    random = Random(seed)
    async with Gateway(tmp_path, config_text(restart=AT_ONCE)) as gateway:
        process = gateway.process
        assert process is not None
        async with asyncio.timeout(60):
            while len(gateway.boots) < 11:
                assert process.returncode is None, "a signal has ended it"
                gateway.signal(random.choice((signal.SIGUSR1, signal.SIGUSR1, signal.SIGHUP)))
                await asyncio.sleep(0.01)
        # Right after one the next restart begins: what came last is not lost.
        boots = len(gateway.boots)
        gateway.signal(signal.SIGUSR1)
        await asyncio.wait_for(gateway.ready(boots + 1), 20)
        for _ in range(random.randrange(40)):
            gateway.signal(signal.SIGUSR1)
            await asyncio.sleep(0.01)
        gateway.signal(signal.SIGTERM)
        assert await gateway.wait() == 0


async def test_exit_asks_whoever_supervises_for_another_process(tmp_path: Path) -> None:
    """It ends with 75; the process that follows says that the request is done, and counts the restart."""
    text = config_text(restart="{mode: exit, delay_ms: 0, cooldown_ms: 0}")
    gateway = Gateway(tmp_path, text)
    try:
        await gateway.start()
        _, asked = await gateway.http("POST", "/api/v1/restart", json={"delay_ms": 0})
        assert await gateway.wait() == 75
        await gateway.start()
        await gateway.until(lambda s: s["state"] == "running" and s["restarts"] == 1)
        assert await outcome_of(gateway, asked["id"]) == "done"
        assert await gateway.stop() == 0
        await gateway.start()
        assert (await gateway.status())["restarts"] == 0
        assert await gateway.stop() == 0
    finally:
        await gateway.close()


async def test_case_12_a_token_has_one_receiver_among_all_gateways_of_the_machine(tmp_path: Path) -> None:
    """The second gateway, with another state folder and another home, ends with 76 and names the first; that one is not
    touched, and its death lets the token go, whatever kind of death it was. A restart keeps it all the while."""
    async with FakeTelegram() as telegram:
        bot = telegram.add_bot(TOKEN, "exec_bot")
        text = config_text(telegram_account("main", TOKEN, telegram.url), restart=AT_ONCE)
        homes = [tmp_path / name for name in ("one", "two")]
        for home in homes:
            home.mkdir()
        first, second = (Gateway(home, text, HOME=str(home), XDG_RUNTIME_DIR=str(home)) for home in homes)
        try:
            await first.start()
            await first.until(lambda s: s["accounts"][0]["state"] == "running")
            assert first.process is not None
            for _ in range(2):
                await second.spawn()
                assert await second.wait() == 76
                held = next(line for line in second.log if line["event"] == "account_held")
                assert held["holder"] == first.process.pid
                assert "telegram/main" in held["why"]
                (second.folder / "log").unlink()
                await restart(first)
            assert bot.stats.max_in_flight == 1
            first.process.kill()
            await first.wait()
            await second.start()
            await second.until(lambda s: s["accounts"][0]["state"] == "running")
            assert bot.stats.conflicts_foreign == 0
            assert await second.stop() == 0
        finally:
            await first.close()
            await second.close()


async def test_a_token_that_another_gateway_holds_is_waited_for_and_one_that_is_given_up_is_free(
    tmp_path: Path,
) -> None:
    """An account that an edit adds is in conflict while another gateway has it, and says which; a person who stops it there
    frees it, and it runs here after one wait."""
    async with FakeTelegram() as telegram:
        bot = telegram.add_bot(TOKEN, "exec_bot")
        account = telegram_account("main", TOKEN, telegram.url, poll_timeout_s=1)
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
        async with (
            Gateway(tmp_path / "one", config_text(account, restart=AT_ONCE)) as first,
            Gateway(tmp_path / "two", config_text()) as second,
        ):
            await first.until(lambda s: s["accounts"][0]["state"] == "running")
            await second.edit(lambda _: config_text(account))
            status = await second.until(lambda s: any(each["state"] == "conflict" for each in s["accounts"]))
            assert first.process is not None
            said = next(each["error"] for each in status["accounts"] if each["state"] == "conflict")
            assert f"PID {first.process.pid}" in said
            code, _ = await first.http("POST", "/api/v1/channels/telegram/main/stop")
            assert code == 200
            await second.until(lambda s: all(each["state"] == "running" for each in s["accounts"]))
            # One that a person has stopped is wanted by nobody here: that another gateway has it keeps none from booting.
            await restart(first)
            assert (await first.account("telegram/main"))["state"] == "stopped"
            code, answer = await first.http("POST", "/api/v1/channels/telegram/main/start")
            assert answer["state"] == "conflict", (code, answer)
        assert bot.stats.overlaps == 0
        assert bot.stats.conflicts_self == 0


async def test_a_change_that_waited_for_the_restart_is_told_as_applied(tmp_path: Path) -> None:
    """Its receipt says restart_pending; after the restart it runs, the history says so, and its time to be confirmed goes on
    over the next image."""
    async with Gateway(tmp_path, config_text(restart=AT_ONCE)) as gateway:
        client = await gateway.client()
        answer = await client.patch('{"gateway": {"restart": {"cooldown_ms": 1}}}', restartDelayMs=0)
        assert answer["receipt"]["outcome"] == "restart_pending"
        ticket = answer["receipt"]["restart"]["id"]
        await asyncio.wait_for(gateway.ready(2), 20)
        status = await gateway.until(lambda s: s["state"] == "running")
        assert status["config"]["applied"] == answer["hash"]
        assert await outcome_of(gateway, ticket) == "done"
        _, history = await gateway.http("GET", "/api/v1/config/history")
        assert [entry["outcome"] for entry in history["entries"] if entry["revision"] == answer["hash"]] == ["applied"]
        client = await gateway.client()
        again = await client.patch(
            '{"gateway": {"restart": {"cooldown_ms": 2}}}', restartDelayMs=0, confirmWithinMs=3000
        )
        await asyncio.wait_for(gateway.ready(3), 20)
        await gateway.until(lambda s: s["config"]["applied"] == again["hash"])
        status = await gateway.until(lambda s: s["config"]["applied"] == answer["hash"], timeout=20)
        assert status["config"]["drift"]


async def test_the_state_folder_and_the_token_are_held_all_the_while(tmp_path: Path) -> None:
    """Somebody tries for both as fast as they can, over five restarts: neither is free for a moment."""
    async with FakeTelegram() as telegram:
        telegram.add_bot(TOKEN, "exec_bot")
        account = TelegramAccount(token=Secret(TOKEN), api_base=telegram.url)
        text = config_text(telegram_account("main", TOKEN, telegram.url), restart=AT_ONCE)
        async with Gateway(tmp_path, text) as gateway:
            await gateway.until(lambda s: s["accounts"][0]["state"] == "running")
            tried = [0]

            async def go_on_trying() -> None:
                while True:
                    with pytest.raises(LockedError):
                        StateLock(tmp_path / ".gateway").acquire()
                    with pytest.raises(ClaimedError):
                        claims.take("telegram/main", account)
                    tried[0] += 1
                    await asyncio.sleep(0)

            claims = Claims()
            trying = asyncio.ensure_future(go_on_trying())
            for _ in range(5):
                await restart(gateway)
            assert not trying.done(), trying.result()
            trying.cancel()
            claims.close()
        assert tried[0] > 100


async def test_who_was_let_in_is_heard(tmp_path: Path) -> None:
    """A client that connected just before a restart, and takes a fifth of a second for its first words, is answered."""
    async with Gateway(tmp_path, config_text(restart=AT_ONCE)) as gateway:
        place = urlsplit(gateway.url)
        reader, writer = await asyncio.open_connection(place.hostname, place.port)
        await gateway.status()
        gateway.signal(signal.SIGUSR1)
        await asyncio.sleep(0.2)
        writer.write(f"GET /healthz HTTP/1.1\r\nHost: {place.netloc}\r\nConnection: close\r\n\r\n".encode())
        answer = await reader.read()
        writer.close()
        assert answer.startswith(b"HTTP/1.1 200"), answer
        await asyncio.wait_for(gateway.ready(2), 20)


async def test_a_file_that_is_spoilt_between_two_images_keeps_none_from_booting(tmp_path: Path) -> None:
    """The next image runs what the one before it knew to be good, says so, and leaves the file alone."""
    spoilt = "gateway: {nonsense"
    (tmp_path / "spoiling.py").write_text(
        "import os, pathlib\n"
        "from gateway.process import image\n"
        "def replace(carried):\n"
        f"    pathlib.Path({str(tmp_path / 'gateway.yaml')!r}).write_text({spoilt!r})\n"
        "    original(carried)\n"
        "original, image.replace_image = image.replace_image, replace\n"
        "from gateway.cli.main import main\n"
        "raise SystemExit(main())\n"
    )
    text = config_text(restart=AT_ONCE)
    gateway = Gateway(tmp_path, text, command=[sys.executable, "-m", "spoiling", "run"])
    gateway._environ = {"PYTHONPATH": f"{Path(__file__).parents[2]}:{tmp_path}"}
    async with gateway:
        await restart(gateway)
        status = await gateway.until(lambda s: s["state"] == "running")
        assert [reason["reason"] for reason in status["degraded"]] == ["config_rejected"]
        assert gateway.config.read_text() == spoilt
