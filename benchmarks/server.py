"""Load `emotion serve` with many clients on this machine: speed, status codes, and memory of the server.

It uses the shipped model and speech of RAVDESS, or of the demo corpus without EMOTION_DATA. Usage:
python benchmarks/server.py [--clients 50] [--seconds 60] [--hostile] [options of emotion serve, such as --workers 2]
"""

import argparse
import asyncio
import io
import os
import subprocess
import sys
import time
import zipfile
from collections import Counter
from contextlib import suppress
from pathlib import Path

import httpx
import numpy as np

from emotion.corpora.demo import Demo

CHUNK = bytes(65_536)


def recordings(count=40):
    """Return names and contents of recordings, from many speakers."""
    root = Path(os.environ["EMOTION_DATA"]) / "ravdess" if "EMOTION_DATA" in os.environ else Demo().locate(None)
    files = sorted(file for file in root.rglob("03-01-*") if file.suffix in (".wav", ".flac"))
    return [(file.name, file.read_bytes()) for file in files[:: max(1, len(files) // count)]]


def zip_bomb():
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("clip.wav", bytes(10**8))
    return content.getvalue()


HEADERS = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"


async def upload(client, content, name="a.wav"):
    """Upload a file, and return the status code of the answer."""
    return (await client.post("/predict", files={"file": (name, content)})).status_code


async def stream(client, chunk, interval):
    """Send chunks of a body without end, and return the status code of the answer."""
    reader, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
    answer = asyncio.create_task(reader.readline())
    try:
        writer.write(HEADERS)
        while not answer.done():
            writer.write(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
            await writer.drain()
            await asyncio.wait([answer], timeout=interval)
    except OSError:
        pass
    finally:
        writer.close()
    with suppress(OSError):
        await answer
    return int(answer.result().split()[1]) if not answer.exception() and answer.result() else "connection closed"


async def disconnect(client):
    """End the connection in the middle of an upload."""
    _, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
    writer.write(HEADERS + b"10000\r\n" + CHUNK)
    await writer.drain()
    writer.close()
    return "disconnected"


async def keep_predicting(client, files, number, end, results):
    """Upload one recording after another; after 429, wait as requested."""
    while time.monotonic() < end:
        number += 1
        start = time.monotonic()
        response = await client.post("/predict", files={"file": files[number % len(files)]})
        results.append((response.status_code, time.monotonic() - start))
        if response.status_code == 429:
            await asyncio.sleep(float(response.headers["retry-after"]))


async def keep_attacking(name, attack, end, answers):
    while time.monotonic() < end:
        answers[name, await attack()] += 1
        await asyncio.sleep(0.1)


def memory_mb(process):
    """Return the memory of a process and of its children, in MB."""
    tasks = Path(f"/proc/{process}/task").iterdir()
    children = [child for task in tasks for child in (task / "children").read_text().split()]
    total = 0
    for one in (process, *children):
        with suppress(OSError):
            total += int(Path(f"/proc/{one}/statm").read_text().split()[1])
    return total * os.sysconf("SC_PAGESIZE") / 1e6


async def watch(process, seconds, memory):
    for _ in range(3):
        memory.append(memory_mb(process))
        await asyncio.sleep(seconds / 2)


def hostile(client):
    """Return the hostile clients by name."""
    bomb = zip_bomb()
    return {
        "ZIP bomb": lambda: upload(client, bomb),
        "text": lambda: upload(client, b"hello" * 1000),
        "endless stream": lambda: stream(client, CHUNK, 0),
        "slow client": lambda: stream(client, b"R", 1),
        "disconnecting client": lambda: disconnect(client),
    }


async def load(address, process, arguments):
    files, results, answers, memory = recordings(), [], Counter(), []
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=address, timeout=300, limits=limits) as client:
        for file in files[:8]:  # first predictions of a process take longer
            await client.post("/predict", files={"file": file})
        end = time.monotonic() + arguments.seconds
        tasks = [keep_predicting(client, files, number, end, results) for number in range(arguments.clients)]
        if arguments.hostile:
            tasks += [keep_attacking(name, attack, end, answers) for name, attack in hostile(client).items()]
        await asyncio.gather(watch(process, arguments.seconds, memory), *tasks)
    report(results, answers, memory, arguments)


def report(results, answers, memory, arguments):
    statuses = Counter(status for status, _ in results)
    seconds = np.array([seconds for status, seconds in results if status == 200])
    print(f"{arguments.clients} clients for {arguments.seconds} s, {os.cpu_count()} cores")
    print("answers: " + ", ".join(f"{count:,} × {status}" for status, count in sorted(statuses.items())))
    print(f"predictions: {len(seconds) / arguments.seconds:.1f} a second")
    print(f"time of a prediction: p50 {np.median(seconds):.3f} s, p95 {np.quantile(seconds, 0.95):.3f} s")
    print("memory of the server at start, middle and end: " + ", ".join(f"{each:.0f} MB" for each in memory))
    for (name, status), count in sorted(answers.items(), key=str):
        print(f"hostile: {name}: {count} × {status}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--hostile", action="store_true", help="Add a client of each hostile kind.")
    arguments, options = parser.parse_known_args()
    command = [sys.executable, "-m", "emotion.cli", "serve", "--port", "0", *options]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        line = server.stdout.readline()
        print(line.strip())
        asyncio.run(load(line.split(" at ")[1].split()[0], server.pid, arguments))
    finally:
        server.terminate()
        print(f"exit status {server.wait()}")


if __name__ == "__main__":
    main()
