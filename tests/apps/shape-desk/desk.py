"""A desk: letters come in by the web, an engine that needs long to start stamps them, two workers carry them on.

Old and new processes run side by side for a moment: what they share below data/ is moved in one step, and the engine's
socket has the release in its name, so that each web process finds the engine of its own release.
"""

import http.server
import os
import pathlib
import socket
import sys
import time

DATA = pathlib.Path(os.environ["COMMIS_DATA"])
ENGINE = f"\0{os.environ['COMMIS_RUN']} {os.environ['COMMIS_RELEASE']}"


def engine():
    time.sleep(1.5)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(ENGINE)
        listening.listen()
        while True:
            client, _ = listening.accept()
            with client:
                client.sendall(b"stamped by " + os.environ["COMMIS_RELEASE"].encode())


def stamp():
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(ENGINE)
        return client.recv(100).decode()


def carry(here, there):
    for name in ("in", "sorted", "out"):
        (DATA / name).mkdir(exist_ok=True)
    while True:
        for letter in sorted((DATA / here).glob("*.txt")):
            try:
                letter.rename(DATA / there / letter.name)
            except FileNotFoundError:
                pass  # The other version's worker was quicker.
        time.sleep(0.05)


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        try:
            text, status = self.page(self.path.split("/")[1:]), 200
        except OSError as error:
            text, status = str(error), 503
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def page(self, path):
        match path:
            case ["healthz"]:
                return stamp()
            case ["send", name]:
                written = DATA / "in" / f"{name}.part"
                written.write_text(stamp())
                written.rename(DATA / "in" / f"{name}.txt")
                return ""
            case _:
                return " ".join(sorted(path.name for path in (DATA / "out").iterdir()))

    def log_message(self, *_):
        pass


def web():
    http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Page).serve_forever()


match sys.argv[1]:
    case "web":
        web()
    case "engine":
        engine()
    case "sorter":
        carry("in", "sorted")
    case "mailer":
        carry("sorted", "out")
