"""`/rate/` and `/queue/` of the search backend: what is passed on to the rater's servers, and what is not."""

import http.client
import json
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from launched import PROJECT, free_port
from services import Program, backend, draw, odd_service, wait_until_idle


class Behind(BaseHTTPRequestHandler):
    """Tells what it was asked; some addresses misbehave."""

    protocol_version = "HTTP/1.1"
    go_on = threading.Event()

    def do_GET(self) -> None:
        name = self.path.partition("?")[0]
        if name == "/base/slow":
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(b"first\n")
            self.wfile.flush()
            self.go_on.wait(30)
            self.wfile.write(b"second\n")
            self.close_connection = True
        elif name == "/base/short":
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"half")
            self.close_connection = True
        elif name == "/base/garbage":
            self.wfile.write(b"this is no HTTP\r\n\r\n")
            self.close_connection = True
        elif name.startswith("/base/moved"):
            self.send_response(303)
            self.send_header("Location", {"/base/moved": "/base/there", "/base/moved-out": "http://example.org/"}[name])
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            self.tell()

    def do_POST(self) -> None:
        self.tell(self.rfile.read(int(self.headers["Content-Length"] or 0)))

    def tell(self, body: bytes = b"") -> None:
        told = {"path": self.path, "method": self.command, "body": body.decode(), "headers": dict(self.headers)}
        raw = json.dumps(told).encode()
        self.send_response(201 if self.command == "POST" else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.send_header("X-Seen", "behind")
        self.send_header("Keep-Alive", "timeout=5")
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *_: Any) -> None:
        """Keep quiet."""


@pytest.fixture(scope="module")
def behind() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Behind)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/base/"
    Behind.go_on.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def front(behind: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """A backend in front of a rater that is there and a queue's server that is not."""
    folder = tmp_path_factory.mktemp("front")
    draw(folder / "pictures" / "one.png", 1)
    with odd_service(folder) as service:
        away = f"http://127.0.0.1:{free_port()}"
        program = backend(folder, service, folder / "pictures", rater=behind, queue=away).start()
        yield program
        program.stop()


def raw_request(program: Program, target: str, method: str = "GET", **headers: str) -> tuple[int, bytes]:
    """Status and body, of a target that no client library has tidied up."""
    connection = http.client.HTTPConnection("127.0.0.1", program.port, timeout=30)
    connection.putrequest(method, target, skip_accept_encoding=True)
    for name, value in headers.items():
        connection.putheader(name.replace("_", "-"), value)
    connection.endheaders()
    answer = connection.getresponse()
    try:
        return answer.status, answer.read()
    finally:
        connection.close()


def refused(request: "str | urllib.request.Request", body: bytes | None = None) -> tuple[int, str, Any]:
    """Status, sentence and headers of a request that must fail."""
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, body)
    with caught.value as answer:
        return answer.code, json.load(answer)["error"], answer.headers


def test_who_opens_a_view_that_is_away_sees_a_page(front: Program) -> None:
    request = urllib.request.Request(front.url + "queue/", headers={"Accept": "text/html,*/*;q=0.8"})
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request)
    with caught.value as answer:
        page = answer.read().decode()
        assert (answer.code, answer.headers.get_content_type()) == (503, "text/html")
    assert "library_processing_server.py does not answer at" in page
    assert '<a href="../">' in page


def test_a_request_is_passed_on_with_its_query_and_its_answer_comes_back(front: Program) -> None:
    with urllib.request.urlopen(front.url + "rate/api/next%20one?a=1&b=%2F") as answer:
        told = json.load(answer)
        assert answer.headers["X-Seen"] == "behind"
        assert "Keep-Alive" not in answer.headers
    assert told["path"] == "/base/api/next%20one?a=1&b=%2F"
    assert told["headers"]["Host"] == f"127.0.0.1:{front.port}"


def test_a_post_is_passed_on_with_body_and_status_but_without_what_belongs_to_one_connection(front: Program) -> None:
    headers = {
        "Content-Type": "application/json", "X-Mine": "1", "X-Private": "2", "Connection": "X-Private",
        "Authorization": "Basic c2VjcmV0", "TE": "trailers",
    }  # fmt: skip
    connection = http.client.HTTPConnection("127.0.0.1", front.port)
    connection.request("POST", "/rate/api/answer", b'{"grade": 2}', headers)  # urllib would set `Connection` itself
    answer = connection.getresponse()
    assert answer.status == 201
    told = json.load(answer)
    connection.close()
    assert (told["method"], told["body"]) == ("POST", '{"grade": 2}')
    names = {name.lower() for name in told["headers"]}
    assert "x-mine" in names
    assert not {"x-private", "authorization", "te"} & names


def test_a_live_answer_arrives_while_it_is_being_written(front: Program) -> None:
    with urllib.request.urlopen(front.url + "rate/slow", timeout=30) as answer:
        assert answer.readline() == b"first\n"
        Behind.go_on.set()
        assert answer.readline() == b"second\n"
        assert answer.read() == b""


def test_an_answer_that_breaks_off_is_not_taken_for_a_whole_one(front: Program) -> None:
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        raw_request(front, "/rate/short")


@pytest.mark.parametrize(
    "target",
    [
        "/rate/../../etc/passwd", "/rate/%2e%2e/secret", "/rate/a/%2E%2E%2Fsecret", "/rate/..%5csecret",
        "/rate/%00", "/rate/a%0d%0aHost:%20evil", "/rate/./x",
    ],
)  # fmt: skip
def test_a_path_that_could_lead_out_of_the_configured_address_is_not_passed_on(front: Program, target: str) -> None:
    status, body = raw_request(front, target)
    assert status in (400, 404), body


@pytest.mark.parametrize("target", ["/rate//example.org/x", "/rate/http://example.org/x", "/rate/@example.org/"])
def test_a_path_that_looks_like_another_host_stays_a_path(front: Program, target: str) -> None:
    status, body = raw_request(front, target)
    assert status == 200
    assert json.loads(body)["path"] == "/base/" + target.removeprefix("/rate/")


def test_a_redirection_leads_below_the_view_and_never_to_another_site(front: Program) -> None:
    for path, expected in (("moved", "/rate/there"), ("moved-out", "/rate/")):
        connection = http.client.HTTPConnection("127.0.0.1", front.port)
        connection.request("GET", f"/rate/{path}")
        answer = connection.getresponse()
        assert (answer.status, answer.headers["Location"]) == (303, expected)
        connection.close()


def test_the_address_without_its_slash_leads_to_the_one_with_it(front: Program) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", front.port)
    connection.request("GET", "/rate?x=1")
    answer = connection.getresponse()
    assert (answer.status, answer.headers["Location"]) == (302, "rate/?x=1")
    connection.close()


def test_a_server_that_is_away_is_told_of_with_how_to_get_on(front: Program) -> None:
    for body in (None, b"{}"):
        status, sentence, headers = refused(front.url + "queue/api/next", body)
        assert (status, headers["Retry-After"]) == (503, "5")
        assert "library_processing_server.py does not answer" in sentence


def test_what_does_not_speak_http_is_told_of(front: Program) -> None:
    status, body = raw_request(front, "/rate/garbage")
    assert status == 502
    assert "does not speak like rater_server.py" in json.loads(body)["error"]


def test_a_body_that_is_too_large_is_refused(front: Program) -> None:
    status, _ = front.refusal("rate/api/answer", b"x" * (2**20 + 1))
    assert status == 413


def test_another_sites_page_cannot_send_anything(front: Program) -> None:
    request = urllib.request.Request(front.url + "rate/api/answer", b"{}", {"Origin": "http://evil.example"})
    assert refused(request)[0] == 403


def test_other_methods_are_not_passed_on(front: Program) -> None:
    for method in ("PUT", "DELETE", "CONNECT"):
        assert raw_request(front, "/rate/x", method)[0] in (400, 404, 405)


def test_the_status_names_the_views_that_are_configured(front: Program, tmp_path: Path) -> None:
    assert front.get("api/status")["views"] == ["rate", "queue"]
    draw(tmp_path / "pictures" / "one.png", 1)
    with odd_service(tmp_path) as service:
        bare = backend(tmp_path, service, tmp_path / "pictures").start()
        assert bare.get("api/status")["views"] == []
        status, sentence, _ = refused(bare.url + "queue/")
        assert status == 404
        assert "`queue` is not set" in sentence
        bare.stop()


def test_the_real_queue_is_reached_through_the_page_s_address(tmp_path: Path) -> None:
    draw(tmp_path / "pictures" / "one.png", 1)
    with odd_service(tmp_path) as service:
        port = free_port()
        program = backend(tmp_path, service, tmp_path / "pictures", queue=f"http://127.0.0.1:{port}").start()
        wait_until_idle(program)
        (tmp_path / "library").mkdir()
        settings = {"mse_config": "mse_config.json", "queue_port": port, "library": "library"}
        config = tmp_path / "rater_config.json"
        config.write_text(json.dumps(settings))
        queue = Program("meme-rater/library_processing_server.py", config, port).start()
        assert program.get("queue/api/next") == queue.get("api/next")
        page = urllib.request.Request(program.url + "queue/", headers={"Accept": "text/html"})
        if (PROJECT / "clipfront2/static/queue.html").is_file():
            with urllib.request.urlopen(page) as answer:
                assert b"<html" in answer.read()
        queue.stop()
        assert program.refusal("queue/api/undo", {})[0] == 503
        program.stop()


@pytest.mark.parametrize("url", ["ftp://host/", "127.0.0.1:1710", "http://host/?x", "http://host/#x"])
def test_an_address_that_cannot_be_a_server_s_stops_the_program_with_the_key(tmp_path: Path, url: str) -> None:
    settings = {"clip_server": "http://127.0.0.1:1/", "db_path": "x.db", "files": ".", "port": 1, "rater": url}
    (tmp_path / "mse.json").write_text(json.dumps(settings))
    ended = subprocess.run(
        [sys.executable, str(PROJECT / "mse.py"), str(tmp_path / "mse.json")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    assert "`rater` must be a URL" in ended.stderr


def test_many_live_answers_at_once_leave_the_page_reachable(front: Program) -> None:
    Behind.go_on.clear()
    opened = []
    for _ in range(40):
        link = socket.create_connection(("127.0.0.1", front.port))
        link.sendall(b"GET /rate/slow HTTP/1.1\r\nHost: x\r\n\r\n")
        opened.append(link)
    try:
        assert front.get("health")["status"] == "ok"
        assert front.get("rate/quick")["path"] == "/base/quick"
    finally:
        Behind.go_on.set()
        for link in opened:
            link.close()
