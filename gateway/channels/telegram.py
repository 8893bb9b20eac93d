"""Telegram: makes the receivers of its accounts, by polling or by webhook, and says how patient to be with them."""

from __future__ import annotations

from functools import lru_cache
from typing import ClassVar

import structlog

from gateway.channels.base import Intake
from gateway.channels.hooks import Hooks
from gateway.channels.telegram_calls import BotApi
from gateway.channels.telegram_receiver import ANSWER_MARGIN, TEXT_LIMIT, TelegramReceiver
from gateway.config.model import Account, TelegramAccount
from gateway.errors import AccountRefusedError, ChannelError
from gateway.messages.pace import Limits, Rate
from statemachine.channel_events import ChannelPolicy

log: structlog.stdlib.BoundLogger = structlog.get_logger()

PROBE_TIMEOUT = 5.0
"""Seconds for the question whether a new token is good: a change of the config waits for it."""
STALL_MARGIN = 5.0
"""Seconds beyond that after which the poll is stalled: it was not even given up."""
CONFLICT_MARGIN = 5.0
CHAT_BURST = 5
"""Messages to one chat that may follow each other at once."""


class TelegramAdapter:
    """Makes receivers for Telegram accounts."""

    account_model: ClassVar[type[Account]] = TelegramAccount

    def __init__(self, hooks: Hooks | None = None) -> None:
        self._hooks = hooks or Hooks()

    def open(self, name: str, settings: TelegramAccount, intake: Intake) -> TelegramReceiver:
        if settings.receive == "polling":
            return TelegramReceiver(name, settings, intake, self._hooks)
        # Not at the boot of whoever polls.
        from gateway.channels.telegram_webhook import WebhookReceiver  # noqa: PLC0415

        return WebhookReceiver(name, settings, intake, self._hooks)

    def policy(self, settings: TelegramAccount) -> ChannelPolicy:
        """After a conflict wait for as long as the other's poll can last: a sooner retry would sustain it."""
        return ChannelPolicy(
            conflict_wait=settings.poll_timeout_s + CONFLICT_MARGIN,
            stop_timeout=settings.stop_timeout_ms / 1000,
            stall_after=settings.poll_timeout_s + ANSWER_MARGIN + STALL_MARGIN,
        )

    def limits(self, settings: TelegramAccount) -> Limits:
        """What Telegram asks bots to keep to: https://core.telegram.org/bots/faq, "My bot is hitting limits"."""
        return _limits(settings.sends_per_second, settings.sends_per_second_in_a_chat)

    async def probe(self, name: str, old: TelegramAccount, new: TelegramAccount) -> str:
        """A new token is asked who it is. That it cannot be asked now is no reason to refuse it."""
        if (old.token, old.api_base) == (new.token, new.api_base):
            return ""
        api = BotApi(new)
        try:
            await api.call("getMe", {}, PROBE_TIMEOUT)
        except AccountRefusedError as error:
            return str(error)
        except ChannelError as error:
            log.info("account_not_tried", account=name, why=str(error))
        finally:
            await api.close()
        return ""


@lru_cache(maxsize=64)
def _limits(account: float, chat: float) -> Limits:
    """Asked for by every message. Messages a second; 0 is no limit."""
    return Limits(
        TEXT_LIMIT,
        Rate(1 / account, max(1, round(account))) if account else Rate(),
        Rate(1 / chat, CHAT_BURST) if chat else Rate(),
    )
