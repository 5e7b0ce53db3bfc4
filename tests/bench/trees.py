"""What is pushed: two tiny applications and one large tree, the same on every machine."""

import random
from itertools import chain

FILES, BYTES = 10_000, 100_000_000

SERVER = '''import os
from http.server import BaseHTTPRequestHandler, HTTPServer


class Page(BaseHTTPRequestHandler):
    def do_GET(self):
        text = open("greeting.txt", "rb").read()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *words):
        pass


HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Page).serve_forever()
'''


class Tree:
    """A working tree with a repository; `next_commit` changes one file in it."""

    def __init__(self, room, name, files, changing):
        self.room, self.path, self.changing, self.count = room, room.path / "trees" / name, changing, 0
        for file, content in files:
            place = self.path / file
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
        self.git("init", "--quiet", "--initial-branch=main")
        self.git("config", "gc.auto", "0")
        self.text = self.next_commit()
        self.git("repack", "-a", "-d", "-q")

    def git(self, *arguments):
        return self.room.git(self.path, *arguments)

    def next_commit(self):
        """A commit that nobody has seen; returns the text that its changing file holds now."""
        self.count += 1
        text = f"this is commit number {self.count}"
        (self.path / self.changing).write_text(text + "\n")
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", text)
        return text

    def add(self, file, text):
        """A program that the next commit will hold."""
        (self.path / file).parent.mkdir(parents=True, exist_ok=True)
        (self.path / file).write_text(text)
        (self.path / file).chmod(0o755)

    def push(self, url, branch="main"):
        self.git("push", "--quiet", url, f"HEAD:refs/heads/{branch}")


def static_site(room, name="static"):
    """Five files and a page that changes."""
    page = b"<!doctype html><title>bench</title><link rel=stylesheet href=style.css><script src=page.js></script>"
    files = [("index.html", page), ("style.css", b"p { color: green }\n"), ("page.js", b"document.title = 'bench'\n")]
    files += [("robots.txt", b"User-agent: *\n"), ("404.html", b"<!doctype html><title>not found</title>")]
    return Tree(room, name, files, "index.html")


def process(room, name="process", files=0, size=0):
    """One Python process that answers with a file; it may stand among many others."""
    settings = b'[health]\npath = "/"\n'
    own = [("server.py", SERVER.encode()), ("Procfile", b"web: /usr/bin/python3 server.py\n")]
    own.append((".commis/project.toml", settings))
    return Tree(room, name, chain(own, many(files, size)), "greeting.txt")


def large(room, name="large"):
    return Tree(room, name, many(FILES, BYTES), "public/index.html")


def many(count, total):
    """By default 10,000 files, 100 MB: sizes as in real trees (many small, few large), half noise and half words."""
    chance = random.Random(20_261_120)
    weights = [chance.lognormvariate(0, 1.2) for _ in range(count)]
    scale = total / max(1, sum(weights))
    words = " ".join(chance.choice(["push", "cook", "deploy", "check", "undo", "serve"]) for _ in range(40_000)).encode()

    for number, weight in enumerate(weights):
        size = max(1, int(weight * scale))
        start = chance.randrange(len(words) // 2)
        content = chance.randbytes(size) if number % 2 else (words[start:] * (size // len(words) + 2))[:size]
        yield f"public/{number // 100:03}/{number:05}.bin", content
