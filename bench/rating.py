"""From the key that answers a pair to the next pair on the screen, beside a bare page that does one fetch.

    python bench/rating.py [--pictures 12000] [--dimensions 1152] [--answers 80]

Real Chromium before the real rater, a key every 300 ms, pictures of 1600 x 1200 pixels. The bare page asks for a few
bytes when a key is pressed and writes them down. Also told: the seconds to start, the model's refits meanwhile, and the
rater's memory beside that of the vectors in float32.
"""

import argparse
import json
import shutil
import tempfile
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
from common import free_port, memory_of, program
from PIL import Image
from playwright.sync_api import Page, sync_playwright
from stub_library import LINKS, fill_library

PAUSE = 300  # milliseconds between answers
BARE = b"""<!doctype html><title>bare</title><p id="told">0</p><script>
addEventListener("keydown", async () => { told.textContent = await (await fetch("more")).text(); });
</script>"""
WATCH = """(state) => {
  window.taken = [];
  addEventListener("keydown", (event) => {
    const before = eval(state);
    const look = () => {
      const now = eval(state);
      if (now === null || now === before) return requestAnimationFrame(look);
      // After the frame that shows it has been drawn.
      requestAnimationFrame(() => { const { port1, port2 } = new MessageChannel();
        port1.onmessage = () => window.taken.push(performance.now() - event.timeStamp); port2.postMessage(0); });
    };
    requestAnimationFrame(look);
  }, true);
}"""
PAIR = """(() => {
  const pair = document.querySelector("[data-testid=pair]");
  const all = [...(pair?.querySelectorAll("img") ?? [])];
  return all.length === 2 && all.every((i) => i.complete && i.naturalWidth) ? pair.dataset.token : null;
})()"""


def bare_page() -> ThreadingHTTPServer:
    class Answer(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        asked = 0

        def do_GET(self) -> None:
            Answer.asked += 1
            body = BARE if self.path == "/" else str(Answer.asked).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def press_keys(page: Page, keys: list[str], state: str) -> list[float]:
    """Milliseconds from each key to the changed page."""
    page.evaluate(WATCH, state)
    for number, key in enumerate(keys):
        page.keyboard.press(key)
        page.wait_for_function(f"taken.length > {number}")
        page.wait_for_timeout(PAUSE)
    return list(page.evaluate("taken"))


def metric(url: str, name: str) -> float:
    with urllib.request.urlopen(url + "metrics") as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(name + " "))


def figures_of(times: list[float]) -> dict[str, float]:
    return {"median_ms": round(float(np.median(times)), 1), "p95_ms": round(float(np.percentile(times, 95)), 1)}


def measure(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    pictures = fill_library(folder, options.pictures, options.dimensions, "stub-1")
    noise = np.random.default_rng(0).integers(0, 256, (75, 100, 3), np.uint8)
    for number in range(0, options.pictures, LINKS):  # the others are links to these
        Image.fromarray(noise).resize((1600, 1200)).save(pictures / f"{number:08}.jpg")
    settings = {"clip_server": "http://127.0.0.1:1/", "db_path": "library.db", "files": str(pictures), "port": 1712}
    (folder / "rater_mse_config.json").write_text(json.dumps(settings))
    port = free_port()
    config = folder / "rater_config.json"
    config.write_text(json.dumps({"rater_port": port}))
    url = f"http://127.0.0.1:{port}/"
    keys = [str(key) for key in np.random.default_rng(1).integers(1, 6, options.answers)]
    server = bare_page()
    started = time.monotonic()
    with program("meme-rater/rater_server.py", config, url) as rater, sync_playwright() as playwright:
        start = time.monotonic() - started
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.goto(f"http://127.0.0.1:{server.server_port}/")
        bare = press_keys(page, keys, "told.textContent")
        page.goto(url)
        page.wait_for_function(f"{PAIR} !== null")
        page.wait_for_timeout(1000)
        rating = press_keys(page, keys, PAIR)
        refits = metric(url, "rater_refit_seconds_count")
        refit = metric(url, "rater_refit_seconds_sum") / max(1, refits)
        memory, peak = (round(memory_of(rater.pid, kind) / 1e6) for kind in ("VmRSS", "VmHWM"))
        browser.close()
    server.shutdown()
    return {
        "pictures": options.pictures,
        "answers": options.answers,
        "next pair": figures_of(rating),
        "bare page": figures_of(bare),
        "ratio_of_medians": round(float(np.median(rating) / np.median(bare)), 2),
        "refit_ms": round(1000 * refit, 1),
        "refits": refits,
        "start_s": round(start, 1),
        "memory_mb": memory,
        "peak_mb": peak,
        "vectors_mb": round(options.pictures * options.dimensions * 4 / 1e6),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=12_000)
    parser.add_argument("--dimensions", type=int, default=1152)
    parser.add_argument("--answers", type=int, default=80)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        figures = measure(Path(name), options)
    for what in ("next pair", "bare page"):
        print(f"{what:10} median {figures[what]['median_ms']:6.1f} ms  p95 {figures[what]['p95_ms']:6.1f} ms")
    print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
