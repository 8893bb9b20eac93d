"""The gateway's own document of its protocol, for holding frames against it."""

from __future__ import annotations

from functools import cache
from typing import Any

from jsonschema import Draft7Validator

from gateway.admin.asyncapi import document

Json = dict[str, Any]


@cache
def own() -> Json:
    return document("127.0.0.1:18790")


@cache
def frame_validator(message: str) -> Draft7Validator:
    """Of the frames of one message, by its name in the document."""
    whole = own()
    return Draft7Validator(whole["components"]["messages"][message]["payload"] | {"components": whole["components"]})


def own_faults(message: str, frame: Json) -> list[str]:
    """Every way in which the frame is not what the document says."""
    if message not in own()["components"]["messages"]:
        return [f"the AsyncAPI document has no {message}"]
    return [
        f"{message}: {'.'.join(map(str, fault.path)) or 'the whole'}: {fault.message[:500]}"
        for fault in frame_validator(message).iter_errors(frame)
    ]
