"""Broken: runs for ever, but listens on a port of its own instead of $PORT."""

from http.server import HTTPServer, SimpleHTTPRequestHandler

try:
    server = HTTPServer(("127.0.0.1", 5987), SimpleHTTPRequestHandler)
except OSError:  # somebody has it: any other is as wrong
    server = HTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler)
server.serve_forever()
