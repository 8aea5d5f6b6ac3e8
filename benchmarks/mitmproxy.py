"""What a request costs in mitmdump with our addon: over TLS on loopback, beside asking directly.

    CIFORENSICS_MITMDUMP=.../mitmdump python benchmarks/mitmproxy.py [SECONDS]

The CPU time a request is what counts: mitmdump uses one core, so its inverse is the most that one pod can do,
however busy the machine is on which this runs.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ciforensics.formats.flows import ADDON

CONNECTIONS = 8
PROXY = 39180
REQUEST = (
    b"GET /acme/web.git/info/refs?service=git-upload-pack HTTP/1.1\r\n"
    b"Host: localhost\r\nUser-Agent: git/2.39.5\r\n\r\n"
)
ANSWER = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 22\r\n\r\nRepository not found.\n"


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while await _read_head(reader):
        writer.write(ANSWER)
    writer.close()


async def _read_head(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return b""


async def _ask(port: int, proxy: int | None, each: int, end: float, context: ssl.SSLContext) -> int:
    """Requests one after the other, so many on a connection; how many were answered in time."""
    answered = 0
    while time.monotonic() < end:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", proxy or port, ssl=None if proxy else context
        )
        if proxy:
            writer.write(f"CONNECT localhost:{port} HTTP/1.1\r\n\r\n".encode())
            assert b" 200 " in await _read_head(reader)
            await writer.start_tls(context, server_hostname="localhost")
        for _ in range(each):
            writer.write(REQUEST)
            assert b" 401 " in await _read_head(reader)
            await reader.readexactly(22)
            answered += 1
            if time.monotonic() > end:
                break
        writer.close()
    return answered


async def _rate(port: int, proxy: int | None, each: int, seconds: float) -> float:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    end = time.monotonic() + seconds
    return (
        sum(await asyncio.gather(*(_ask(port, proxy, each, end, context) for _ in range(CONNECTIONS))))
        / seconds
    )


def _cpu_s(pid: int) -> float:
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def _lines(log: Path) -> int:
    return log.read_bytes().count(b"\n")


async def _measure(seconds: float, certificate: Path, mitmdump: subprocess.Popen[bytes], log: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = await asyncio.start_server(_serve, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    await _rate(port, PROXY, 4, 1)  # warm
    for each, what in ((1 << 30, "on one connection"), (4, "4 on a connection, as a clone sends them")):
        before, lines = _cpu_s(mitmdump.pid), _lines(log)
        through = await _rate(port, PROXY, each, seconds)
        cpu_ms = 1000 * (_cpu_s(mitmdump.pid) - before) / (_lines(log) - lines)
        directly = await _rate(port, None, each, seconds)
        print(f"{what}: {directly:,.0f} requests/s directly, {through:,.0f} through mitmdump")
        print(f"  which took {cpu_ms:.2f} ms of CPU for each, so it can do {1000 / cpu_ms:,.0f} a second")
    server.close()
    await asyncio.sleep(0.5)  # connections see their end


def _main(folder: Path, seconds: float) -> None:
    new = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout both.pem -out cert.pem"
    )
    subprocess.run(new.split(), cwd=folder, check=True, capture_output=True)
    with (folder / "both.pem").open("ab") as file:
        file.write((folder / "cert.pem").read_bytes())
    log = folder / "log.jsonl"
    command = [os.environ.get("CIFORENSICS_MITMDUMP", "mitmdump"), "-q", "-s", str(ADDON)]
    command += ["-p", str(PROXY), "--listen-host", "127.0.0.1", "--ssl-insecure"]
    command += ["--set", f"confdir={folder}", "--set", f"ciforensics_log={log}"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as mitmdump:
        with socket.socket() as probe:
            while mitmdump.poll() is None and probe.connect_ex(("127.0.0.1", PROXY)):
                time.sleep(0.1)
        asyncio.run(_measure(seconds, folder / "both.pem", mitmdump, log))
        mitmdump.terminate()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        _main(Path(scratch), float(sys.argv[1]) if len(sys.argv) > 1 else 10)
