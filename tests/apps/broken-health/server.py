"""Broken: starts well and answers 500, so the health check must fail."""

import os
from http.server import BaseHTTPRequestHandler, HTTPServer


class Page(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_error(500, "broken on purpose")


HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Page).serve_forever()
