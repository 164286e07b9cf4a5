"""The mosaics of a page, as a test reads them back from its HTML."""

from __future__ import annotations

import base64
import re
import zlib
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray


class Drawn:
    """One mosaic of a page: its rasters as palette indices, and its labels by place."""

    def __init__(self, html: str, key: str) -> None:
        article = html[html.index(f'<article class="map" id="{key}"') :]
        start = article.index('<svg class="mosaic"')
        svg = article[start : article.index("</svg>") + 6]
        self.root = ElementTree.fromstring(svg)
        self.images = self.root.findall("image")
        self.rasters = [decode(str(image.get("href"))) for image in self.images]

    def label(self, plane: int, place: str) -> tuple[str | None, float, float]:
        """The letter at the left, right, top or bottom of a plane's first slice, and where it stands."""
        text = self.root.findall("g")[plane].find(f"text[@class='{place}']")
        assert text is not None
        return text.text, float(text.get("x") or 0), float(text.get("y") or 0)


def decode(uri: str) -> NDArray[np.uint8]:
    """A data URI of a palette PNG without filters → its indices (rows, columns)."""
    content = base64.b64decode(uri.removeprefix("data:image/png;base64,"))
    columns, rows = (int.from_bytes(content[at : at + 4], "big") for at in (16, 20))
    body = b"".join(
        content[match.end() : match.end() + int.from_bytes(content[match.start() - 4 : match.start()], "big")]
        for match in re.finditer(b"IDAT", content)
    )
    lines = np.frombuffer(zlib.decompress(body), np.uint8).reshape(rows, columns + 1)
    assert not lines[:, 0].any()
    return lines[:, 1:]
