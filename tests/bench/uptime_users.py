#!/usr/bin/env python3
"""The users: a constant load on one application, which counts every request that fails, and during what.

    uptime_users.py --port PORT --host NAME [--pace SECONDS]

Reads lines from standard input: a word for what happens now and the numbers of the releases that may answer meanwhile,
`push 3 4`. Each is answered with `ok` once it holds. At the end of its input it lets the last requests end, prints one
JSON object, and exits 0: {"requests", "seconds", "failures": [{"kind", "during", "who", "detail"}], "sockets": {"opened",
"messages", "closed": {EVENT: N}}, "slowest": SECONDS, "slowest_during": EVENT}.

Kinds: `refused`, `reset`, `closed` (the connection ended before the answer did), `status` (500 or more, or any other that is
not 200), `body` (not what a release answers, or one that may not answer now), `late` (no answer in 20 s), and
`broken` (WebSockets). A WebSocket that ends in order is no failure while processes change, the application's or the
router's; it is one when nobody had a reason to end it: during `rest` and what begins with `server`."""

import argparse
import asyncio
import base64
import collections
import json
import os
import re
import sys
import time

TEXT = re.compile(rb"this is commit number (\d+)\n")
PATIENCE = 20
# Users who come back to the same connection at once, after a while, each time on a new one, with an upload, who wait.
USERS = {"kept": 8, "idle": 6, "fresh": 4, "upload": 3, "slow": 4, "socket": 4}
# Seconds between two requests of one that comes back after a while: less than any idle time of the router.
IDLE = (0.7, 1.9, 3.1)


class Failed(Exception):
    def __init__(self, kind, detail=""):
        super().__init__(f"{kind}: {detail}")
        self.kind, self.detail = kind, detail


class Record:
    """What happened so far."""

    def __init__(self):
        self.began, self.requests, self.failures = time.monotonic(), 0, []
        self.events = [("rest", None)]
        self.opened, self.messages, self.ended = 0, 0, collections.Counter()
        self.slowest, self.slowest_during, self.stopping = 0.0, "rest", False

    @property
    def now(self):
        return self.events[-1][0]

    def may_answer(self, since):
        """The releases of everything that happened since an event; `None`: any."""
        releases = [allowed for _, allowed in self.events[since:]]
        return None if None in releases else set().union(*releases)

    def failed(self, who, failure):
        self.failures.append({"kind": failure.kind, "during": self.now, "who": who, "detail": failure.detail})

    def done(self, seconds, delay=0.0):
        self.requests += 1
        if seconds - delay > self.slowest:
            self.slowest, self.slowest_during = seconds - delay, self.now

    def summary(self):
        sockets = {"opened": self.opened, "messages": self.messages, "closed": self.ended}
        slowest = {"slowest": round(self.slowest, 3), "slowest_during": self.slowest_during}
        seconds = round(time.monotonic() - self.began, 1)
        return {"requests": self.requests, "seconds": seconds, "failures": self.failures, "sockets": sockets} | slowest


class Client:
    """One connection at a time to the application."""

    def __init__(self, asked):
        self.asked, self.streams, self.released = asked, None, False

    async def request(self, method, path, body=b"", keeps=True, fields=""):
        """Status and body of the answer."""
        if self.streams is None:
            self.streams = await asyncio.open_connection("127.0.0.1", self.asked.port)
        reader, writer = self.streams
        close = "" if keeps else "Connection: close\r\n"
        length = f"Content-Length: {len(body)}\r\n" if method == "POST" else ""
        head = f"{method} {path} HTTP/1.1\r\nHost: {self.asked.host}\r\n{close}{length}{fields}\r\n"
        writer.write(head.encode() + body)
        await writer.drain()
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        status = int(head.split(" ", 2)[1])
        found = re.search(r"\r\ncontent-length: *(\d+)", head)
        answer = await reader.readexactly(int(found.group(1))) if found else b""
        if not keeps or "\r\nconnection: close" in head:
            self.close()
        return status, answer

    def close(self):
        if self.streams is not None:
            self.streams[1].close()
            self.streams = None

    async def in_time(self, work):
        """The same failures for everyone."""
        try:
            return await asyncio.wait_for(work, PATIENCE)
        except asyncio.TimeoutError:
            raise Failed("late", f"{PATIENCE} s") from None
        except ConnectionRefusedError as error:
            raise Failed("refused", str(error)) from None
        except (ConnectionResetError, BrokenPipeError) as error:
            raise Failed("reset", str(error)) from None
        except asyncio.IncompleteReadError as error:
            raise Failed("closed", f"{len(error.partial)} bytes came") from None
        except OSError as error:
            raise Failed("refused", str(error)) from None


async def user(kind, number, asked, record):
    client, who = Client(asked), f"{kind}-{number}"
    pause = {"idle": IDLE[number % len(IDLE)], "slow": 0.0}.get(kind, asked.pace)
    while not record.stopping:
        try:
            await client.in_time(ask(kind, client, record))
        except Failed as failure:
            record.failed(who, failure)
            client.close()
            # One failure is one failure, also where nobody answers for a while.
            await asyncio.sleep(0.05)
        await pause_of(record, pause)
    client.close()


async def pause_of(record, seconds, is_over=lambda: False):
    until = time.monotonic() + seconds
    while not record.stopping and not is_over() and (left := until - time.monotonic()) > 0:
        await asyncio.sleep(min(left, 0.02))


async def ask(kind, client, record):
    since, began = len(record.events) - 1, time.monotonic()
    if kind == "upload":
        sent = os.urandom(512).hex().encode()
        status, answer = await client.request("POST", "/", sent)
        right = answer == sent
    else:
        status, answer = await client.request("GET", "/slow" if kind == "slow" else "/", keeps=kind != "fresh")
        found, allowed = TEXT.fullmatch(answer), record.may_answer(since)
        right = found and (allowed is None or int(found.group(1)) in allowed)
    if status != 200:
        raise Failed("status", str(status))
    if not right:
        raise Failed("body", answer[:60].decode("latin-1"))
    record.done(time.monotonic() - began, 0.5 if kind == "slow" else 0.0)


async def socket(number, asked, record):
    """Opens a WebSocket, talks every fifth of a second, and opens another one when it ends."""
    client, who = Client(asked), f"socket-{number}"
    while not record.stopping:
        try:
            await client.in_time(shake_hands(client, record))
            while not record.stopping:
                if not await client.in_time(echo(client)):
                    ended(record, who)
                    break
                record.messages += 1
                # An end is noticed at once, so that it is counted for what happens then.
                await pause_of(record, 0.2, client.streams[0].at_eof)
        except Failed as failure:
            record.failed(who, failure)
            await asyncio.sleep(0.05)
        client.close()


def ended(record, who):
    """In order. Nobody has a reason to end it while the same processes run on."""
    record.ended[record.now] += 1
    if record.now == "rest" or record.now.startswith("server"):
        record.failed(who, Failed("broken", "it ended"))


async def shake_hands(client, record):
    key = base64.b64encode(os.urandom(16)).decode()
    fields = f"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
    status, _ = await client.request("GET", "/socket", fields=fields)
    record.requests += 1
    record.opened += 1
    if status != 101:
        raise Failed("status", f"{status} for a WebSocket")


async def echo(client):
    """Whether it still talks."""
    reader, writer = client.streams
    text, mask = os.urandom(40), os.urandom(4)
    writer.write(bytes([0x82, 0x80 | len(text)]) + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(text)))
    try:
        await writer.drain()
        answer = await reader.readexactly(2 + len(text))
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise Failed("broken", "half a message came") from None
        return False
    if answer[2:] != text:
        raise Failed("broken", "another message came")
    return True


async def orders(record):
    """Ends with the input."""
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := (await lines.readline()).decode().split():
        event, releases = line[0], [int(word) for word in line[1:]]
        record.events.append((event, set(releases) or None))
        print("ok", flush=True)


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--host", required=True)
    parser.add_argument("--pace", type=float, default=0.01, help="seconds between two requests of one user")
    asked, record = parser.parse_args(), Record()
    work = []
    for kind, count in USERS.items():
        for number in range(count):
            work.append(socket(number, asked, record) if kind == "socket" else user(kind, number, asked, record))
    users = [asyncio.create_task(one) for one in work]
    await orders(record)
    record.stopping = True
    await asyncio.gather(*users)
    print(json.dumps(record.summary()), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
