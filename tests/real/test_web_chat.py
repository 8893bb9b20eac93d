"""What is said in the web chat outlives the process: kept before it is answered, and there again after a kill."""

from __future__ import annotations

from pathlib import Path

from tests.real.process import Client, Gateway, config_text

SESSION = "webchat:default:me"


async def lines(client: Client) -> list[tuple[str, str]]:
    found = await client.request("chat.history", {"sessionKey": SESSION})
    return [(line["role"], line["text"]) for line in found["messages"]]


async def say(client: Client, text: str, key: str) -> None:
    await client.request("chat.send", {"sessionKey": SESSION, "message": text, "idempotencyKey": key})


async def test_a_conversation_is_there_again_after_a_kill(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, config_text())
    try:
        await gateway.start()
        client = await gateway.client()
        await say(client, "one", "key-1")
        while len(await lines(client)) < 2:
            pass
        await say(client, "two", "key-2")
        assert gateway.process is not None
        gateway.process.kill()
        await gateway.wait()
        await gateway.start()
        client = await gateway.client()
        while len(await lines(client)) < 4:
            pass
        said = await lines(client)
        assert said == [("user", "one"), ("assistant", "one"), ("user", "two"), ("assistant", "two")]
        # Said again with a key of the earlier life, it is not said again.
        await say(client, "two", "key-2")
        await say(client, "three", "key-3")
        while len(await lines(client)) < 6:
            pass
        assert (await lines(client))[4:] == [("user", "three"), ("assistant", "three")]
    finally:
        await gateway.close()
