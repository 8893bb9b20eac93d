"""Makes a picture of a screen small: a PNG with a palette, the same bytes for the same pixels.

The palette has the 256 colours that are there most often, exactly as they are: a page has few, and text has many shades
between its own and its ground, each of which becomes the nearest.
"""

from __future__ import annotations

import base64
import struct
import zlib

from playwright.async_api import Page

READ = """async (picture) => {
    const image = await createImageBitmap(await (await fetch(`data:image/png;base64,${picture}`)).blob());
    const canvas = new OffscreenCanvas(image.width, image.height);
    const pen = canvas.getContext("2d");
    pen.drawImage(image, 0, 0);
    const pixels = pen.getImageData(0, 0, image.width, image.height).data;
    const colours = new Uint32Array(pixels.length / 4), often = new Map();
    for (let at = 0; at < colours.length; at += 1) {
        const colour = (pixels[4 * at] << 16) | (pixels[4 * at + 1] << 8) | pixels[4 * at + 2];
        colours[at] = colour;
        often.set(colour, (often.get(colour) ?? 0) + 1);
    }
    const palette = [...often.keys()].sort((one, other) => often.get(other) - often.get(one) || one - other).slice(0, 256);
    const parts = (colour) => [colour >> 16, (colour >> 8) & 255, colour & 255];
    const apart = (one, other) => parts(one).reduce((sum, part, at) => sum + (part - parts(other)[at]) ** 2, 0);
    const nearest = (colour) => palette.reduce((best, _, at) => (apart(palette[at], colour) < apart(palette[best], colour) ? at : best), 0);
    const numbers = new Map([...often.keys()].map((colour) => [colour, nearest(colour)]));
    const indices = Uint8Array.from(colours, (colour) => numbers.get(colour));
    const text = await new Promise((done) => {
        const reader = new FileReader();
        reader.onload = () => done(reader.result);
        reader.readAsDataURL(new Blob([indices]));
    });
    return { width: image.width, height: image.height, palette, indices: text.split(",")[1] };
}"""


async def small(page: Page, picture: bytes) -> bytes:
    """The picture with a palette. The page may be any that lets scripts fetch `data:`, an empty one for instance."""
    read = await page.evaluate(READ, base64.b64encode(picture).decode())
    width, height, pixels = read["width"], read["height"], base64.b64decode(read["indices"])
    # With a palette no filter helps: each line begins with the mark of none.
    lines = b"".join(b"\0" + pixels[row * width : (row + 1) * width] for row in range(height))
    palette = b"".join(colour.to_bytes(3, "big") for colour in read["palette"])
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        (
            _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
            _chunk(b"PLTE", palette),
            _chunk(b"IDAT", zlib.compress(lines, 9)),
            _chunk(b"IEND", b""),
        )
    )


def size_of(picture: bytes) -> tuple[int, int]:
    """Width and height in pixels."""
    width, height = struct.unpack(">II", picture[16:24])
    return width, height


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
