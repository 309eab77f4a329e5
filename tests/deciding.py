"""A person in a hurry: keeps and discards whatever comes, and takes some back, until the queue is empty."""

import json
import sys
import urllib.error
import urllib.request
from typing import Any

URL = sys.argv[1]


def ask(path: str, body: Any = None) -> Any:
    raw = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(URL + path, raw), timeout=30) as answer:
        return json.load(answer)


try:
    number = 0
    while cards := ask("api/next?k=1")["pictures"]:
        card, number = cards[0], number + 1
        body = {"token": card["token"], "hash": card["hash"], "decision": "keep" if number % 2 else "discard"}
        made = ask("api/decide", {**body, "name": card["name"], "folder": "kept"} if number % 2 else body)
        if number % 5 == 0:
            ask("api/undo", {"id": made["id"]})
except (OSError, ValueError):  # the server was killed
    sys.exit(0)
