"""A content manager: pages in SQLite, uploads as files, both below data/; closed to editors while it is maintained."""

import http.server
import os
import pathlib
import sqlite3

DATA = pathlib.Path(os.environ["COMMIS_DATA"])
THEME = pathlib.Path("theme.txt").read_text() if os.path.exists("theme.txt") else "plain"


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        closed = (DATA / "maintenance").exists()
        match self.path.split("/")[1:]:
            case ["healthz"]:
                self.answer(500 if THEME == "broken" else 200, "")
            case _ if closed:
                self.answer(503, "maintenance")
            case [""]:
                with sqlite3.connect(DATA / "content.db") as database:
                    rows = database.execute("select name, body from pages order by name").fetchall()
                files = sorted(path.name for path in (DATA / "uploads").iterdir())
                self.answer(200, f"{THEME}: {rows} {files}")
            case ["write", name, body]:
                with sqlite3.connect(DATA / "content.db") as database:
                    database.execute("insert or replace into pages values (?, ?)", (name, body))
                self.answer(200, "")
            case ["upload", name]:
                (DATA / "uploads" / name).write_bytes(os.urandom(1000))
                self.answer(200, "")
            case _:
                self.answer(404, "")

    def answer(self, status, text):
        self.send_response(status)
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Page).serve_forever()
