"""The application whose users must notice nothing: HTTP/1.1 with kept connections, slow answers, uploads, WebSockets.

    GET /        the text of the release: `this is commit number 3`
    GET /slow    the same, half a second later
    POST /       the request's body
    GET /socket  a WebSocket that sends back whatever it gets
"""

import base64
import hashlib
import os
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

if os.path.exists("broken"):
    raise SystemExit("this release cannot start")
TEXT = open("greeting.txt", "rb").read()
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Page(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def do_GET(self):
        if self.path == "/socket":
            return self.talk()
        if self.path == "/slow":
            time.sleep(0.5)
        self.answer(TEXT)

    def do_POST(self):
        self.answer(self.rfile.read(int(self.headers["Content-Length"])))

    def answer(self, text):
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def talk(self):
        """Short frames only; until the client ends it."""
        self.close_connection = True
        key = self.headers["Sec-WebSocket-Key"].encode()
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(hashlib.sha1(key + GUID).digest()).decode())
        self.end_headers()
        self.wfile.flush()
        while len(head := self.rfile.read(2)) == 2:
            size = head[1] & 127
            mask, data = self.rfile.read(4), self.rfile.read(size)
            text = bytes(byte ^ mask[at % 4] for at, byte in enumerate(data))
            self.wfile.write(bytes([head[0], len(text)]) + text)
            self.wfile.flush()

    def log_message(self, *words):
        pass


class Server(ThreadingHTTPServer):
    # The default of 5 makes the kernel drop connections that come together.
    request_queue_size = 128
    daemon_threads = True


Server(("127.0.0.1", int(os.environ["PORT"])), Page).serve_forever()
