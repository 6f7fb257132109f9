"""A webhook: writes what is posted to it to /tmp/posts, one line each."""

from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path


class Receiver(BaseHTTPRequestHandler):
    """Takes posts of JSON without line ends, as `json.dumps` makes them."""

    def do_POST(self) -> None:
        """Keep it."""
        content = self.rfile.read(int(self.headers["Content-Length"]))
        with Path("/tmp/posts").open("ab") as posts:
            posts.write(content + b"\n")
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()


HTTPServer(("0.0.0.0", 8000), Receiver).serve_forever()
