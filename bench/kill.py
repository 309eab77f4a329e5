"""Kill -9 of either program at random moments while a library is indexed; then everything must be equal.

    python bench/kill.py [--kills 20] [--pictures 1500]

Compares the files on disk, in the database and in the index after the last restart, and counts what the
embedding service embedded over its lives beside the number of pictures (the baseline: each once).
"""

import argparse
import json
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from common import DEMO_MODEL, PROJECT, free_port, get_json, post_json, wait_for
from indexing import make_pictures

BATCH = 16
IN_FLIGHT = 2 * BATCH


def embedded(service: str) -> float:
    """How many pictures this life of the service has embedded."""
    with urllib.request.urlopen(service + "metrics", timeout=60) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith("modelserver_total_items_total{"))


def start(folder: Path, script: str) -> "subprocess.Popen[bytes]":
    config = folder / f"{script}.json"
    with config.with_suffix(".log").open("ab") as log:
        return subprocess.Popen([sys.executable, str(PROJECT / script), str(config)], stderr=log)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--pictures", type=int, default=1500)
    options = parser.parse_args()
    chosen = random.Random(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = {path.name for path in make_pictures(folder, options.pictures)}
        ports = free_port(), free_port()
        service, backend = (f"http://127.0.0.1:{port}/" for port in ports)
        configs = {
            "clip_server.py": {"model": DEMO_MODEL, "port": ports[0], "max_batch_size": BATCH, "device": "cpu"},
            "mse.py": {"clip_server": service, "db_path": "l.db", "files": "pictures", "port": ports[1], "ocr": False},
        }
        for script, config in configs.items():
            (folder / f"{script}.json").write_text(json.dumps(config))
        programs = {script: start(folder, script) for script in configs}
        total = 0.0
        try:
            for number in range(options.kills):
                wait_for(lambda: get_json(service + "health"))
                wait_for(lambda: get_json(backend + "health"))
                time.sleep(chosen.uniform(0, 0.5))
                script = chosen.choice(sorted(programs))
                if script == "clip_server.py":
                    total += embedded(service)
                programs[script].send_signal(signal.SIGKILL)
                programs[script].wait()
                programs[script] = start(folder, script)
                print(f"kill {number + 1} of {options.kills}: {script}", file=sys.stderr)
            wait_for(lambda: get_json(backend)["n_total"] == options.pictures, 600)
            total += embedded(service)
            query = {"embeddings": [[1.0] + [0.0] * 255], "top_k": 20_000}
            in_index = {match["file"] for match in post_json(backend, query)}
        finally:
            for program in programs.values():
                program.terminate()
                program.wait(60)
        database = sqlite3.connect(folder / "l.db")
        in_database = {row[0] for row in database.execute("SELECT path FROM files")}
        database.close()
    figures = {
        "kills": options.kills,
        "pictures": options.pictures,
        "disk_database_index_equal": files == in_database == in_index,
        "embedded": int(total),
        "embedded_to_pictures": round(total / options.pictures, 3),
        "allowed_twice": options.kills * IN_FLIGHT,
    }
    print(f"sets equal: {figures['disk_database_index_equal']}; {figures['embedded_to_pictures']} embeddings a picture")
    print(json.dumps(figures))
    return 0 if figures["disk_database_index_equal"] else 1


if __name__ == "__main__":
    raise SystemExit(main())
