"""What a gateway holds does not grow with what it does, and what keeps its loop is named."""

from __future__ import annotations

from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tests.real.process import Gateway, config_text

SLEEPY = """\
import time

async def answer(message):
    secret = "a-secret-that-is-a-value"
    time.sleep(float(message.text))
    return "awake"
"""


async def test_what_blocks_the_loop_is_named_in_the_log_the_status_and_the_metrics(tmp_path: Path) -> None:
    """A handler that is `async`, and sleeps as if it were not."""
    (tmp_path / "sleepy.py").write_text(SLEEPY)
    text = config_text().replace("{type: echo}", "{type: python, target: 'sleepy:answer'}")
    async with Gateway(tmp_path, text) as gateway:
        status = await gateway.until(lambda s: s["state"] == "running")
        assert "sleepy" not in str(status["process"])
        client = await gateway.client()
        said = {"sessionKey": "webchat:default:me", "idempotencyKey": "1", "message": "2.5"}
        await client.request("chat.send", said)
        status = await gateway.until(lambda s: "sleepy" in str(s["process"]["blocked"]["longest"]))
        longest = status["process"]["blocked"]["longest"]
        assert longest["place"].split("/")[-1] == "sleepy.py:5 answer"
        assert longest["seconds"] > 0.25
        assert longest["at"] <= status["now"]
        (line,) = [line for line in gateway.log if line["event"] == "loop_blocked" and "sleepy" in line["place"]]
        assert (line["place"], line["level"]) == (longest["place"], "warning")
        metrics = await scraped(gateway)
        assert metrics["gateway_loop_blocked_seconds"] == {"": longest["seconds"]}
        assert "a-secret-that-is-a-value" not in str(status) + (tmp_path / "log").read_text()


async def scraped(gateway: Gateway) -> dict[str, dict[str, float]]:
    """Each metric's values by its label `kind`, "" where it has none."""
    assert gateway._session is not None
    async with gateway._session.get(
        gateway.url + "/metrics", headers={"Authorization": f"Bearer {gateway.token}"}
    ) as response:
        text = await response.text()
    found: dict[str, dict[str, float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[sample.labels.get("kind", "")] = sample.value
    return found
