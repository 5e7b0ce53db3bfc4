"""A shop: orders in PostgreSQL, a receipt for each below data/, a worker that ships them."""

import http.server
import os
import pathlib
import sys
import time

import psycopg2

DATA = pathlib.Path(os.environ["COMMIS_DATA"])
MIGRATIONS = sorted(pathlib.Path("migrations").glob("*.sql"))


def connect():
    return psycopg2.connect(os.environ["DATABASE_URL"])


def ask(text, *values):
    with connect() as database, database.cursor() as cursor:
        cursor.execute(text, values)
        return cursor.fetchall()


def migrate():
    """Each file once, in order, in a transaction of its own: a failing one leaves those before it."""
    with connect() as database, database.cursor() as cursor:
        cursor.execute("create table if not exists migrations (name text primary key)")
    done = {name for (name,) in ask("select name from migrations")}
    for path in MIGRATIONS:
        if path.name not in done:
            print("migrating", path.name, flush=True)
            with connect() as database, database.cursor() as cursor:
                cursor.execute(path.read_text())
                cursor.execute("insert into migrations values (%s)", (path.name,))


def index():
    ask("update orders set search = lower(item) where search is null returning id")


def worker():
    while True:
        ask(
            "update orders set state = 'shipped' where id in (select id from orders where state = 'new'"
            " order by id for update skip locked limit 1) returning id"
        )
        time.sleep(0.1)


def buy(item):
    [(number,)] = ask("insert into orders (item, search) values (%s, lower(%s)) returning id", item, item)
    (DATA / "receipts").mkdir(exist_ok=True)
    (DATA / "receipts" / f"{number}.txt").write_text(f"{item}\n")
    return f"order {number}"


def is_well():
    [(done,)] = ask("select count(*) from migrations")
    return done == len(MIGRATIONS) and not os.path.exists("broken")


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        match self.path.split("/")[1:]:
            case [""]:
                rows = ask("select id, item, state from orders order by id")
                self.answer(200, "".join(f"{number} {item} {state}\n" for number, item, state in rows))
            case ["buy", item]:
                self.answer(200, buy(item))
            case ["healthz"]:
                self.answer(200 if is_well() else 500, "")
            case _:
                self.answer(404, "")

    def answer(self, status, text):
        self.send_response(status)
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_):
        pass


def web():
    http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Page).serve_forever()


{"web": web, "worker": worker, "migrate": migrate, "index": index}[sys.argv[1]]()
