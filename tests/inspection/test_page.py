"""The interactive page: nothing from elsewhere, and it works in a browser."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from wfst_entropy import Fsa, draw

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium or google-chrome on PATH to open the page in"
)
PATIENCE = 60.0  # seconds


def test_the_page_refers_to_nothing_outside_itself(lattice):
    page = draw(lattice, title="A & B").html()
    addresses = set(re.findall(r"""[a-z]+://[^"'\s<>)]+""", page))
    assert addresses == {"http://www.w3.org/2000/svg"}  # the name of SVG, which nobody loads
    for word in ("src=", "href=", "@import", "url(", "fetch(", "XMLHttpRequest", "import("):
        assert word not in page
    assert "<title>A &amp; B</title>" in page


def test_symbols_cannot_end_the_script(lattice):
    page = draw(lattice).html()
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)[1]
    arcs = json.loads(data)["arcs"]
    assert [arc["text"] for arc in arcs][1] == "<b>&\"'</script>/-3"
    assert arcs[1]["posterior"] == pytest.approx(0.0522, abs=1e-4)
    assert (arcs[5]["source"], arcs[5]["destination"], arcs[5]["label"]) == (3, 4, -1)


def test_scores_that_json_cannot_say():
    fsa = Fsa.from_str("0 1 1 -Infinity\n0 1 2 0\n1 2 -1 0\n2", acceptor=True)
    page = draw(fsa).html()
    assert '"score": "-inf"' in page and "-Infinity" not in page.split('id="data"')[1][:400]


class Browser:
    """A headless Chromium with one page, spoken to over a pair of pipes (DevTools protocol)."""

    def __init__(self, folder: Path) -> None:
        to_read, self._to = os.pipe()
        self._from, to_write = os.pipe()

        def connect_pipes() -> None:  # Chromium reads from 3 and writes to 4
            ends = os.dup(to_read), os.dup(to_write)
            os.dup2(ends[0], 3)
            os.dup2(ends[1], 4)

        self._process = subprocess.Popen(
            [
                CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
                "--disable-dev-shm-usage", f"--user-data-dir={folder}", "--window-size=900,600",
                "--remote-debugging-pipe", "about:blank",
            ],
            preexec_fn=connect_pipes,
            pass_fds=(3, 4),
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(to_read)
        os.close(to_write)
        self._number, self._buffer = 0, b""
        self._session: dict[str, str] = {}
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = {"sessionId": attached["sessionId"]}
        self.call("Page.enable")
        self.call("Network.enable")
        self.call("Network.emulateNetworkConditions", offline=True, latency=0,
                  downloadThroughput=0, uploadThroughput=0)  # fmt: skip

    def open(self, path: Path) -> None:
        self.call("Page.navigate", url=f"file://{path}")
        self.wait(
            f"location.pathname === {json.dumps(str(path))} && "
            "document.body && document.body.dataset.ready === 'yes'"
        )

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._to)
        os.close(self._from)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters, **self._session}
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = json.loads(self._next())
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]

    def _next(self) -> bytes:
        end = time.monotonic() + PATIENCE
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._from], [], [], max(0.0, end - time.monotonic()))
            assert ready, "Chromium does not answer"
            data = os.read(self._from, 65536)
            assert data, "Chromium has ended"
            self._buffer += data
        message, self._buffer = self._buffer.split(b"\0", 1)
        return message

    def evaluate(self, script: str) -> Any:
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait(self, condition: str) -> None:
        end = time.monotonic() + PATIENCE
        while not self.evaluate(condition):
            assert time.monotonic() < end, f"never came true: {condition}"
            time.sleep(0.02)

    def mouse(self, kind: str, x: float, y: float, **more: Any) -> None:
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    def place(self, selector: str) -> tuple[float, float]:
        """The middle of an element on the screen."""
        box = self.evaluate(
            f"(b => [b.x + b.width / 2, b.y + b.height / 2])"
            f"(document.querySelector({json.dumps(selector)}).getBoundingClientRect())"
        )
        return box[0], box[1]

    def view_box(self) -> list[float]:
        return [float(v) for v in self.evaluate("svg.getAttribute('viewBox')").split()]


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[Browser]:
    with contextlib.closing(Browser(tmp_path_factory.mktemp("profile"))) as browser:
        yield browser


@needs_chromium
def test_the_page_in_a_browser(lattice, browser, tmp_path):
    draw(lattice, tmp_path / "lattice.html", title="Lattice")
    browser.open(tmp_path / "lattice.html")

    # The whole graph is in view.
    x, y, width, height = browser.view_box()
    assert x <= 0 and y <= 0
    assert width >= browser.evaluate("whole[2]") - 1 and height >= browser.evaluate("whole[3]") - 1

    # The wheel zooms in where the pointer is: the point under it stays.
    at = browser.place('.state[data-state="2"]')
    browser.mouse("mouseWheel", *at, deltaX=0, deltaY=-200)
    browser.wait(f"Number(svg.getAttribute('viewBox').split(' ')[2]) < {0.7 * width}")
    assert browser.place('.state[data-state="2"]') == pytest.approx(at, abs=1.0)

    # Dragging moves the picture by as much as the mouse.
    browser.mouse("mousePressed", *at, button="left", clickCount=1)
    browser.mouse("mouseMoved", at[0] + 60, at[1] + 25, button="left")
    browser.mouse("mouseReleased", at[0] + 60, at[1] + 25, button="left")
    moved = browser.place('.state[data-state="2"]')
    assert moved == pytest.approx((at[0] + 60, at[1] + 25), abs=2.0)
    browser.evaluate("document.getElementById('fit').click()")
    assert browser.view_box() == pytest.approx([x, y, width, height], abs=0.1)

    # Hovering over a text shows score and posterior, over a state its arcs.
    browser.mouse("mouseMoved", *browser.place('.label[data-arc="2"]'))
    tip = browser.evaluate("tip.style.display === 'block' && tip.textContent")
    assert tip.startswith("cat/-0.25") and "1 → 2" in tip and "posterior 0.7773" in tip
    browser.mouse("mouseMoved", *browser.place('.state[data-state="1"] circle'))
    assert browser.evaluate("tip.textContent") == "state 1\n2 arcs in, 2 out"

    # Searching marks the arcs with a symbol, and their number.
    browser.evaluate("search.focus()")
    browser.call("Input.insertText", text="mat")
    assert browser.evaluate("[...svg.querySelectorAll('text.found')].map(t => t.textContent)") == [
        "mat/-2"
    ]
    assert "1 arcs with mat" in browser.evaluate("status.textContent")
    assert browser.evaluate("svg.querySelector('g.found').dataset.arcs") == "3"

    # The best path is marked, and followed arc by arc.
    browser.evaluate("document.getElementById('best').click()")
    assert browser.evaluate("status.textContent") == "score -0.850000: the cat sat"
    best = browser.evaluate("[...svg.querySelectorAll('g.best')].map(g => g.dataset.arcs).sort()")
    assert best == ["0 1", "2", "4", "5"]
    for step, word in ((1, "the"), (2, "cat"), (3, "sat")):
        browser.evaluate("document.getElementById('forth').click()")
        assert browser.evaluate("status.textContent").startswith(f"arc {step} of 4: {word}/")
    browser.evaluate("document.getElementById('back').click()")
    assert browser.evaluate("status.textContent").startswith("arc 2 of 4: cat/")


@needs_chromium
def test_the_best_path_of_a_cyclic_graph(bigram, browser, tmp_path):
    draw(bigram, tmp_path / "bigram.html")
    browser.open(tmp_path / "bigram.html")
    browser.evaluate("document.getElementById('best').click()")
    assert browser.evaluate("status.textContent").startswith("score -2.00000: ")


def test_a_part_of_a_graph_has_no_start_to_go_from(bigram):
    page = draw(bigram, around=4, radius=0).html()
    assert '"starts": []' in page and '"finals": []' in page
