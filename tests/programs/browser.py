"""A headless Chromium that a test drives by the DevTools protocol, as a reader: looks, tabs, types."""

from __future__ import annotations

import base64
import json
import subprocess
import time
from itertools import count
from typing import TYPE_CHECKING, Any, Self
from urllib.request import Request, urlopen

import websocket

if TYPE_CHECKING:
    from pathlib import Path

_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-quic",
    "--no-first-run", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
    "--disable-default-apps", "--remote-debugging-port=0", "--remote-allow-origins=*",
)  # fmt: skip
_KEYS = {"Tab": 9, "Enter": 13, "Escape": 27, " ": 32}


class Tab:
    """One page that is open.

    Attributes:
        messages: what the console said, warnings of the browser's own and uncaught errors among it.
        asked: the addresses that the page asked for.
    """

    def __init__(self, address: str) -> None:
        self.messages: list[str] = []
        self.asked: list[str] = []
        self._socket = websocket.create_connection(address, timeout=60)
        self._numbers = count(1)
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")
        self.send("Emulation.setFocusEmulationEnabled", enabled=True)  # pages that are not in front have none

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command of the protocol, and its answer."""
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            said = json.loads(self._socket.recv())
            if said.get("id") == number:
                assert "error" not in said, f"{method}: {said['error']}"
                return dict(said["result"])
            self._note(said["method"], said["params"])

    def _note(self, event: str, said: dict[str, Any]) -> None:
        match event:
            case "Runtime.consoleAPICalled":
                self.messages.append(
                    " ".join(str(a.get("value", a.get("description"))) for a in said["args"])
                )
            case "Runtime.exceptionThrown":
                details = said["exceptionDetails"]
                self.messages.append(details.get("exception", {}).get("description", details["text"]))
            case "Log.entryAdded":
                self.messages.append(said["entry"]["text"])
            case "Network.requestWillBeSent":
                self.asked.append(said["request"]["url"])

    def open(self, url: str, *, width: int = 1280, height: int = 900, dark: bool = False) -> Self:
        """Opens an address in a window of that size, in that scheme, and waits until it is there."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.send("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])
        self.send("Page.navigate", url=url)
        self.until("document.readyState == 'complete'")
        return self

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression; of a promise, what it comes to."""
        asked = {"expression": script, "returnByValue": True, "awaitPromise": True, "userGesture": True}
        answer = self.send("Runtime.evaluate", **asked)
        assert "exceptionDetails" not in answer, f"{script}: {answer['exceptionDetails']}"
        return answer["result"].get("value")

    def until(self, script: str, *, seconds: float = 60) -> Any:
        """Waits until an expression is true, and returns its value."""
        end = time.monotonic() + seconds
        while not (value := self.run(script)):
            assert time.monotonic() < end, f"after {seconds} s still not: {script}"
            time.sleep(0.05)
        return value

    def press(self, key: str) -> None:
        """Presses a key, e.g. `Tab` or `Enter`."""
        code = {"key": key, "code": key, "windowsVirtualKeyCode": _KEYS[key]}
        text = {"Enter": "\r", " ": " "}.get(key)
        self.send("Input.dispatchKeyEvent", type="keyDown", **code, **({"text": text} if text else {}))
        self.send("Input.dispatchKeyEvent", type="keyUp", **code)

    def type(self, text: str) -> None:
        """Types a text where the cursor is."""
        self.send("Input.insertText", text=text)

    def hover(self, x: float, y: float) -> None:
        """Moves the pointer to a point of the window."""
        self.send("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def picture(self, *, whole: bool = True) -> bytes:
        """A PNG of the whole page, or of the window."""
        return base64.b64decode(self.send("Page.captureScreenshot", captureBeyondViewport=whole)["data"])

    def pdf(self) -> bytes:
        """The page, printed."""
        paper = {"paperWidth": 8.27, "paperHeight": 11.69}
        return base64.b64decode(self.send("Page.printToPDF", **paper)["data"])

    def close(self) -> None:
        """Leaves the page."""
        self._socket.close()


class Browser:
    """A Chromium with a profile of its own, which ends with the `with`."""

    def __init__(self, program: str, profile: Path) -> None:
        self._command = [program, *_FLAGS, f"--user-data-dir={profile}", "about:blank"]
        self._port = profile / "DevToolsActivePort"
        self._tabs: list[Tab] = []

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        end = time.monotonic() + 60
        while not self._port.exists() or len(self._port.read_text().split()) < 2:
            assert self._process.poll() is None, "Chromium ended"
            assert time.monotonic() < end, "Chromium does not start"
            time.sleep(0.05)
        return self

    def __exit__(self, *_: object) -> None:
        for tab in self._tabs:
            tab.close()
        self._process.terminate()
        self._process.wait(30)

    def tab(self) -> Tab:
        """A new, empty page."""
        port = self._port.read_text().split()[0]
        asked = Request(f"http://127.0.0.1:{port}/json/new?about:blank", method="PUT")
        with urlopen(asked, timeout=30) as answer:  # noqa: S310 (loopback)
            self._tabs.append(Tab(json.load(answer)["webSocketDebuggerUrl"]))
        return self._tabs[-1]
