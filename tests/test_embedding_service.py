"""The embedding service at its limits: raw pixels, broken clients, overload, dying decoders, a clean stop."""

import asyncio
import contextlib
import gzip
import io
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import zlib
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import numpy as np
import pytest
from embedding import ask, embed, encoded
from launched import PROJECT
from safetensors.torch import load_file, save_file
from services import Program, clip_server, wait_for
from tokenizers import Tokenizer

from memesearch import picture
from memesearch.clip.precision import TEXTS
from memesearch.picture import Preprocessing

SIZE = 96
WANT = Preprocessing(SIZE, SIZE, "squash")


def body_of(pixels: np.ndarray, count: int | None = None, width: int = SIZE) -> bytes:
    header = struct.pack("<4sIII", b"RGB8", len(pixels) if count is None else count, width, SIZE)
    return header + pixels.tobytes()


def post_pixels(service: Program, body: bytes) -> Any:
    return ask(service, "pixels", body, "application/octet-stream")


def fitted(seeds: range) -> np.ndarray:
    return np.stack([picture.pixels(encoded(seed), WANT) for seed in seeds])


def test_raw_pixels_have_the_vectors_of_the_pictures_they_came_from(service: Program) -> None:
    status, headers, raw = post_pixels(service, body_of(fitted(range(20))))
    vectors = np.frombuffer(raw, "<f2").reshape(20, -1).astype(np.float32)
    expected = np.stack(embed(service, images=[encoded(seed) for seed in range(20)]))
    assert (status, headers["X-Model-Id"][:9]) == (200, "openclip-")
    assert (vectors * expected).sum(axis=1).min() > 0.9999


def test_an_empty_body_of_pixels_has_an_empty_answer(service: Program) -> None:
    assert post_pixels(service, body_of(fitted(range(1))[:0]))[::2] == (200, b"")


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"", 400, "shorter than its header"),
        (b"RGB", 400, "shorter than its header"),
        (b"BGR8" + bytes(12), 400, "does not begin with the 16 bytes of a header"),
        (struct.pack("<4sIII", b"RGB8", 5, SIZE, SIZE), 400, "announces 5 pictures"),
        (struct.pack("<4sIII", b"RGB8", 1, SIZE, SIZE) + bytes(SIZE * SIZE * 3 + 1), 400, "announces 1 pictures"),
        (struct.pack("<4sIII", b"RGB8", 1, 32, 32) + bytes(32 * 32 * 3), 400, "takes pictures of 96x96 pixels"),
        (struct.pack("<4sIII", b"RGB8", 2**32 - 1, SIZE, SIZE), 413, "larger than"),
    ],
)
def test_a_header_that_lies_is_refused(service: Program, body: bytes, status: int, words: str) -> None:
    answer = post_pixels(service, body)
    assert answer[0] == status
    assert words in json.loads(answer[2])["error"]


async def test_a_chunked_body_of_the_wrong_length_is_refused(service: Program) -> None:
    async def send(pieces: list[bytes]) -> tuple[int, str]:
        async def chunks() -> Any:
            for piece in pieces:
                yield piece

        async with aiohttp.ClientSession() as session, session.post(service.url + "pixels", data=chunks()) as answer:
            return answer.status, str(await answer.read())

    right = body_of(fitted(range(3)))
    assert (await send([right[:7], right[7:40000], right[40000:]]))[0] == 200
    status, text = await send([right[:-5]])
    assert (status, "shorter" in text) == (400, True)
    status, text = await send([right, b"x"])
    assert (status, "longer" in text) == (400, True)


def connected(service: Program, sent: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", service.port))
    connection.sendall(sent)
    return connection


def test_clients_that_are_slow_or_leave_in_the_middle_hold_up_nobody(service: Program) -> None:
    body = body_of(fitted(range(8)))
    head = f"POST /pixels HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    few = body_of(fitted(range(4)))
    short_head = head.replace(str(len(body)).encode(), str(len(few)).encode())
    slow = [connected(service, head + body[: 16 + 1000 * n]) for n in range(40)]
    slow += [connected(service, short_head + few[:5000]) for n in range(20)]
    leaving = [connected(service, head + body[:50000]) for _ in range(12)]
    for connection in leaving:
        connection.close()
    for connection in slow:
        connection.sendall(b"x")
    assert post_pixels(service, body)[0] == 200
    assert len(embed(service, images=[encoded(1)], text=None)) == 1
    for connection in slow:
        connection.close()
    wait_for(lambda: service.metric("modelserver_accepted_items") == 0)
    assert post_pixels(service, body)[0] == 200
    assert "Traceback" not in service.config.with_suffix(".log").read_text()


def test_clients_that_stall_in_the_middle_of_a_large_body_do_not_make_others_wait_for_them(tmp_path: Path) -> None:
    service = clip_server(tmp_path, max_batch_size=64).start()
    body = body_of(np.zeros((64, SIZE, SIZE, 3), np.uint8))
    head = f"POST /pixels HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    stalled = [connected(service, head + body[: len(body) * 2 // 3]) for _ in range(60)]
    assert post_pixels(service, body)[0] == 200
    stalled[-1].setblocking(False)
    with pytest.raises(BlockingIOError):  # they were not waited for: the last has not even been given up yet
        stalled[-1].recv(1)
    for connection in stalled:
        connection.close()
    service.stop()


def test_a_few_bytes_that_announce_many_pictures_keep_nobody_out(service: Program) -> None:
    size = 9000 * SIZE * SIZE * 3
    head = f"POST /pixels HTTP/1.1\r\nHost: x\r\nContent-Length: {16 + size}\r\n\r\n".encode()
    liars = [connected(service, head + struct.pack("<4sIII", b"RGB8", 9000, SIZE, SIZE)) for _ in range(3)]
    people = [
        connected(
            service, head.replace(str(16 + size).encode(), b"110608") + struct.pack("<4sIII", b"RGB8", 4, SIZE, SIZE)
        )
        for _ in range(300)
    ]
    assert post_pixels(service, body_of(fitted(range(20))))[0] == 200
    assert len(embed(service, text=["a cat"])) == 1
    for connection in liars + people:
        connection.close()


def test_bytes_that_are_only_announced_keep_nobody_out(service: Program) -> None:
    announced = (
        "Content-Length: 10000000000000",
        *["Content-Length: 268435456"] * 6,
        *["Transfer-Encoding: chunked"] * 6,
    )
    heads = [f"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/msgpack\r\n{what}\r\n\r\n" for what in announced]
    connections = [connected(service, head.encode()) for head in heads]
    assert len(embed(service, text=["a cat"])) == 1
    assert b" 413 " in connections[0].recv(100)
    for connection in connections:
        connection.close()


def test_a_text_of_many_megabytes_is_cut_before_it_costs_memory(service: Program) -> None:
    long = embed(service, text=["penguin " * 2_000_000])[0]
    assert float(long @ embed(service, text=["penguin " * 100])[0]) > 0.999
    status, _, raw = ask(service, "", msgspec.msgpack.encode({"text": [""] * 70_000}))
    assert (status, "too many for one request" in msgspec.msgpack.decode(raw)) == (413, True)


def test_a_form_that_is_none_is_refused_without_a_traceback(service: Program) -> None:
    for form in (b"--x\r\n\x00broken: \xff header\r\n\r\n\r\n--x--", b"", b"rubbish"):
        assert ask(service, "embed", form, "multipart/form-data; boundary=x")[0] == 400
    assert ask(service, "embed", b"", "multipart/form-data")[0] == 400
    assert "Traceback" not in service.config.with_suffix(".log").read_text()


async def test_bulk_in_any_amount_leaves_people_their_place(service: Program) -> None:
    async with aiohttp.ClientSession() as session:
        body = msgspec.msgpack.encode({"text": ["x"] * 60_000})
        headers = {"Content-Type": "application/msgpack"}
        bulk = asyncio.create_task(session.post(service.url, data=body, headers=headers))
        while not await asyncio.to_thread(service.metric, "modelserver_waiting_items"):
            await asyncio.sleep(0.01)
        assert len(await asyncio.to_thread(embed, service, text=["a cat"])) == 1
        assert not bulk.done()
        bulk.cancel()


def test_compressed_bodies_are_refused(service: Program) -> None:
    for path, content_type in (("", "application/msgpack"), ("pixels", "application/octet-stream")):
        headers = {"Content-Type": content_type, "Content-Encoding": "gzip"}
        request = urllib.request.Request(service.url + path, gzip.compress(bytes(10_000_000)), headers)
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=60)
        refused.value.close()
        assert refused.value.code == 415


async def test_ten_thousand_requests_at_once_are_answered_or_told_to_come_back(tmp_path: Path) -> None:
    program = clip_server(tmp_path).start()
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(300)) as session:
        payload = msgspec.msgpack.encode({"text": ["a cat"] * 20})
        answers: dict[int, int] = {}

        async def one() -> None:
            headers = {"Content-Type": "application/msgpack"}
            async with session.post(program.url, data=payload, headers=headers) as answer:
                await answer.read()
                answers[answer.status] = answers.get(answer.status, 0) + 1
                assert answer.status == 200 or answer.headers["Retry-After"]

        turn = asyncio.Semaphore(2000)  # open files that a test may have

        async def in_turn() -> None:
            async with turn:
                await one()

        await asyncio.gather(*(in_turn() for _ in range(10_000)))
    assert set(answers) == {200, 429}
    assert answers[200] > 50
    assert program.metric("modelserver_rejections_total") == answers[429]
    assert program.get("health")["status"] == "ok"
    assert program.stop() == 0
    log = program.config.with_suffix(".log").read_text()
    assert 1 <= log.count("told to come back") < 10


def test_connections_that_come_while_it_is_busy_are_kept(tmp_path: Path) -> None:
    program = clip_server(tmp_path).start()
    assert program.process is not None
    address = urllib.parse.urlsplit(program.url)
    with contextlib.ExitStack() as opened:
        program.process.send_signal(signal.SIGSTOP)  # as busy as can be
        opened.callback(program.process.send_signal, signal.SIGCONT)
        arriving = []
        for _ in range(1000):  # the system drops those that do not fit, and the connection is not made in time
            arriving.append(opened.enter_context(socket.create_connection((address.hostname, address.port), 0.9)))
            arriving[-1].settimeout(60)
            arriving[-1].sendall(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
        program.process.send_signal(signal.SIGCONT)
        for each in arriving:
            assert each.recv(100).startswith(b"HTTP/1.1 204")
    assert program.stop() == 0


def children(program: Program) -> list[int]:
    assert program.process is not None
    listing = subprocess.run(
        ["ps", "--ppid", str(program.process.pid), "-o", "pid="], capture_output=True, text=True, check=False
    )
    return [int(pid) for pid in listing.stdout.split()]


def test_killed_decoders_are_replaced_and_no_request_notices(service: Program) -> None:
    pictures = [encoded(seed) for seed in range(8)]
    before = embed(service, images=pictures)
    for _ in range(3):
        for pid in children(service):
            os.kill(pid, signal.SIGKILL)
        np.testing.assert_array_equal(embed(service, images=pictures), before)


def test_a_picture_that_claims_to_be_huge_is_refused(service: Program) -> None:
    header = b"IHDR" + struct.pack(">IIBBBBB", 25500, 25500, 8, 2, 0, 0, 0)
    data = b"IDAT" + zlib.compress(bytes(100))
    chunks = [
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in (header, data)
    ]
    claims = bytes.fromhex("89504e470d0a1a0a") + b"".join(chunks)
    status, headers, raw = ask(service, "", msgspec.msgpack.encode({"images": [encoded(1), claims]}))
    assert (status, headers["X-Item-Index"]) == (400, "1")
    assert "more than the limit" in msgspec.msgpack.decode(raw)
    assert len(embed(service, images=[encoded(1)])) == 1, raw


async def test_sigterm_finishes_what_was_accepted(tmp_path: Path) -> None:
    program = clip_server(tmp_path).start()
    body = body_of(np.repeat(fitted(range(8)), 300, axis=0))
    async with aiohttp.ClientSession() as session:
        request = asyncio.create_task(session.post(program.url + "pixels", data=io.BytesIO(body)))
        while not await asyncio.to_thread(program.metric, 'modelserver_total_items_total{modality="image"'):
            await asyncio.sleep(0.01)
        assert program.process is not None
        program.process.send_signal(signal.SIGTERM)
        answer = await request
        assert (answer.status, len(await answer.read())) == (200, 2400 * 256 * 2)
    assert await asyncio.to_thread(program.process.wait, 30) == 0


def test_a_text_of_which_the_model_makes_nan_fails_alone(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(PROJECT / "demo/model", folder)
    weights = load_file(folder / "open_clip_model.safetensors")
    (name,) = [key for key in weights if "token_embedding" in key]
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    spared = {token for text in (*TEXTS, "size", "health", "a cat") for token in tokenizer.encode(text).ids}
    poison = next(token for token in tokenizer.encode("penguin").ids if token not in spared)
    weights[name][poison] = float("nan")
    save_file(weights, folder / "open_clip_model.safetensors")
    program = clip_server(tmp_path, f"local-dir:{folder}").start()
    status, headers, raw = ask(program, "", msgspec.msgpack.encode({"text": ["a cat", "penguin"]}))
    assert (status, headers["X-Item-Index"]) == (422, "1")
    assert "no finite vector for item 1" in msgspec.msgpack.decode(raw)
    assert np.isfinite(embed(program, text=["a cat"])[0]).all()
    assert program.stop() == 0


def test_weights_that_give_only_nan_are_a_clear_error_at_start(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(PROJECT / "demo/model", folder)
    weights = load_file(folder / "open_clip_model.safetensors")
    for name in [key for key in weights if key.startswith("visual") and key.endswith("weight")]:
        weights[name] *= float("nan")
    save_file(weights, folder / "open_clip_model.safetensors")
    program = clip_server(tmp_path, f"local-dir:{folder}")
    command = [sys.executable, str(PROJECT / "clip_server.py"), str(program.config)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 2
    assert "vectors that are not finite" in ended.stderr.splitlines()[-1]


@pytest.mark.parametrize(("towers", "missing"), [("vision", {"text": ["a cat"]}), ("text", {"images": [b"x"]})])
def test_a_service_with_one_tower_says_what_it_cannot_do(tmp_path: Path, towers: str, missing: Any) -> None:
    program = clip_server(tmp_path, towers=towers).start()
    config = msgspec.msgpack.decode(ask(program, "config")[2])
    assert (config["embedding_size"], config["model_id"][:9]) == (256, "openclip-")
    status, _, raw = ask(program, "", msgspec.msgpack.encode(missing))
    assert (status, f"`towers`: {towers}" in msgspec.msgpack.decode(raw)) == (501, True)
    present = {"images": [encoded(1)]} if towers == "vision" else {"text": ["a cat"]}
    assert len(embed(program, **present)) == 1
    assert program.stop() == 0


def test_a_list_of_devices_gives_each_a_copy_and_the_same_vectors(tmp_path: Path, service: Program) -> None:
    program = clip_server(tmp_path, device=["cpu", "cpu"]).start()
    pictures = [encoded(seed) for seed in range(40)]
    ours, theirs = embed(program, images=pictures), embed(service, images=pictures)
    assert min(float(a @ b) for a, b in zip(ours, theirs, strict=True)) > 0.999
    assert program.stop() == 0


def test_the_metrics_tell_an_operator_what_happens(service: Program) -> None:
    embed(service, images=[encoded(seed) for seed in range(8)])
    time.sleep(1.2)  # the busy gauge is brought up to date each second
    text = ask(service, "metrics")[2].decode()
    operations = (PROJECT / "docs/operations.md").read_text("utf-8")
    names = {line.split(" ")[2] for line in text.splitlines() if line.startswith("# TYPE modelserver_")}
    names = {name for name in names if not name.endswith("_created")}
    assert len(names) >= 12
    assert not [name for name in names if f"`{name}`" not in operations]
    assert service.metric("modelserver_computing_seconds_count") > 0
    assert service.metric("modelserver_preprocessing_seconds_count") > 0
    assert service.metric("modelserver_ready") == 1
