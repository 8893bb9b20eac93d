"""A gateway with a planted fault, for the referee to find.

`python -m tests.chaos.spoilt_gateway FAULT` takes after it what `python -m gateway` takes. The faults:
second-poll: now and then a Telegram receiver polls a second time beside itself.
silent: chat.send on the WebSocket is taken and never answered.
forgetful: a restart request is accepted, and its outcome never recorded.
leaky: every write leaves a descriptor and a task behind.
talkative: the log names a bot's token, in a way that the redactor cannot know.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from gateway.admin import methods
from gateway.admin.config_calls import ConfigCalls
from gateway.channels.telegram import TelegramAdapter
from gateway.channels.telegram_receiver import TelegramReceiver
from gateway.cli.run import run
from gateway.requests import Requests

BETWEEN = 1.0
"""Seconds between two of the planted polls."""


def plant_second_poll() -> None:
    honest = TelegramReceiver.run

    async def twice(receiver: TelegramReceiver) -> None:
        async def beside() -> None:
            while True:
                await asyncio.sleep(BETWEEN)
                await receiver._api.call("getUpdates", {"timeout": 0}, 10)

        second = asyncio.ensure_future(beside())
        try:
            await honest(receiver)
        finally:
            second.cancel()

    TelegramReceiver.run = twice  # type: ignore[method-assign, assignment]


def plant_silent() -> None:
    honest = methods.METHODS["chat.send"]

    async def never(_: methods.Context, __: Any) -> Any:
        await asyncio.Event().wait()

    methods.METHODS["chat.send"] = replace(honest, call=never)


def plant_forgetful() -> None:
    honest = Requests.close

    def forget(requests: Requests, request_id: str, outcome: str, why: str = "") -> None:
        if not request_id.startswith("restart-"):
            honest(requests, request_id, outcome, why)

    Requests.close = forget  # type: ignore[method-assign, assignment]


def plant_leaky() -> None:
    honest, kept = ConfigCalls.write, []

    async def leak(api: ConfigCalls, *given: Any, **more: Any) -> dict[str, Any]:
        kept.append((os.open(os.devnull, os.O_RDONLY), asyncio.ensure_future(asyncio.Event().wait())))
        return await honest(api, *given, **more)

    ConfigCalls.write = leak  # type: ignore[method-assign, assignment]


def plant_talkative() -> None:
    honest = TelegramAdapter.open

    def tell(adapter: TelegramAdapter, name: str, settings: Any, intake: Any) -> TelegramReceiver:
        sys.stderr.write(f"gateway: opening {settings.token.reveal()}\n")
        return honest(adapter, name, settings, intake)

    TelegramAdapter.open = tell  # type: ignore[method-assign, assignment]


FAULTS: dict[str, Callable[[], None]] = {
    "second-poll": plant_second_poll,
    "silent": plant_silent,
    "forgetful": plant_forgetful,
    "leaky": plant_leaky,
    "talkative": plant_talkative,
}


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("fault", choices=sorted(FAULTS))
    parser.add_argument("--config", type=Path, default=Path("gateway.yaml"))
    parser.add_argument("--state-dir", type=Path, default=Path(".gateway"))
    given = parser.parse_args()
    FAULTS[given.fault]()
    return run(given.config.absolute(), given.state_dir.absolute())


if __name__ == "__main__":
    raise SystemExit(main())
