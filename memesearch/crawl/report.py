"""What a run says of itself: progress on stderr while it works, a summary at the end."""

import asyncio
import sys
import time

from memesearch.crawl.run import Crawl, Tally

LOG_SECONDS = 30.0  # between two lines where there is no terminal
WORDS = {
    "stored": "stored",
    "duplicate": "known already under another post",
    "adult": "flagged as adult",
    "deleted": "deleted",
    "empty": "without a picture",
    "refused": "refused",
    "failed": "failed and tried again by the next run",
}


async def show(crawl: Crawl) -> None:
    """Progress with rate and time left of what is listed by now: one line kept up to date on a terminal, else a
    line now and then."""
    began = told = time.monotonic()
    terminal = sys.stderr.isatty()
    start, end = ("\r\x1b[K", "") if terminal else ("", "\n")
    try:
        while True:
            await asyncio.sleep(0.5)
            now = time.monotonic()
            if terminal or now - told > LOG_SECONDS:
                told = now
                print(start + line(list(crawl.tallies.values()), now - began), end=end, file=sys.stderr, flush=True)
    finally:
        print(start, end="", file=sys.stderr, flush=True)


def line(tallies: list[Tally], seconds: float) -> str:
    looked_at, listed = sum(tally.looked_at for tally in tallies), sum(tally.listed for tally in tallies)
    stored = sum(tally.outcomes.get("stored", 0) for tally in tallies)
    rate = looked_at / seconds
    left = f", {(listed - looked_at) / rate:.0f} s left of these pages" if rate else ""
    return f"{looked_at:,} of {listed:,} listed posts looked at, {stored:,} pictures stored, {rate:.1f}/s{left}"


def summary(crawl: Crawl) -> str:
    """One line a source, then why the run ended early, if it did."""
    lines = []
    for name, tally in crawl.tallies.items():
        counts = [f"{tally.outcomes[outcome]:,} {word}" for outcome, word in WORDS.items() if outcome in tally.outcomes]
        told = ", ".join(counts) or "nothing new"
        lines.append(f"{name}: {told}" + (f"; gave up: {tally.problem}" if tally.problem else ""))
    if crawl.ended:
        lines.append(f"ended early: {crawl.ended}; the next run goes on there")
    return "\n".join(lines)
