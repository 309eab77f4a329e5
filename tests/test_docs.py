"""The documentation is held to the code."""

import json
import re
from pathlib import Path

import msgspec
import pytest

from memesearch.config import ClipServerConfig, Config, MseConfig, ThumbnailerConfig, load_config
from memesearch.crawl.config import CrawlSettings
from memesearch.rater.config import RaterConfig

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "demo/README.md", *sorted((ROOT / "docs").glob("*.md"))]


def documented_keys(program: str) -> dict[str, str]:
    """Key to default, as the table of `program` in docs/configuration.md says."""
    text = (ROOT / "docs/configuration.md").read_text("utf-8")
    section = text.split(f"\n## {program}\n")[1].split("\n## ")[0]
    return {row[0]: row[1] for row in re.findall(r"^\| `(\w+)` \| [\w ]+ \| (.*?) \|", section, re.MULTILINE)}


@pytest.mark.parametrize(
    ("program", "kind"),
    [
        ("clip_server.py", ClipServerConfig),
        ("mse.py", MseConfig),
        ("thumbnailer.py", ThumbnailerConfig),
        ("rater_config.json", RaterConfig),
    ],
)
def test_the_tables_of_keys_equal_the_config_classes(program: str, kind: type[Config]) -> None:
    expected = {
        field.name: "required" if field.required else f"`{msgspec.json.encode(field.default).decode()}`"
        for field in msgspec.structs.fields(kind)
    }
    assert documented_keys(program) == expected


def test_the_shipped_configs_can_be_used() -> None:
    load_config(ROOT / "clip_server_config.json", ClipServerConfig)
    load_config(ROOT / "mse_config.json", MseConfig)
    load_config(ROOT / "thumbnailer_config.json", ThumbnailerConfig)
    assert load_config(ROOT / "meme-rater/rater_config.json", RaterConfig).pictures().no_run_server


def test_every_key_of_the_crawler_is_documented() -> None:
    text = (ROOT / "docs/configuration.md").read_text("utf-8").split("\n## crawl")[1]
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \|", text, re.MULTILINE)
    defaults = {field.name: field.default for field in msgspec.structs.fields(CrawlSettings)}
    assert {name: json.loads(value) for name, value in rows} == defaults


def test_every_route_is_documented() -> None:
    text = (ROOT / "docs/http-api.md").read_text("utf-8")
    rooms = ("backend", "rater/rating", "rater/processing", "rater/judging")
    sources = [ROOT / "memesearch/clip/routes.py"]
    sources += [path for room in rooms for path in (ROOT / "memesearch" / room).glob("*.py")]
    routes = {
        route
        for source in sources
        for route in re.findall(r'add_(get|post|put|delete)\("([^"]+)"', source.read_text("utf-8"))
    }
    assert len(routes) > 10
    for method, path in routes:
        plain = re.sub(r"\{(\w+):(?:[^{}]|\{[^}]*\})*\}", r"{\1}", path)
        assert f"`{method.upper()} {plain}`" in text


def test_every_metric_of_the_backend_is_documented_under_the_name_it_has() -> None:
    documented = (ROOT / "docs/operations.md").read_text("utf-8")
    source = (ROOT / "memesearch/backend/parts.py").read_text("utf-8")
    metrics = re.findall(r'(Counter|Gauge|Histogram)\(\s*"(mse_\w+)"', source)
    assert len(metrics) > 10
    for kind, name in metrics:
        assert f"`{name}{'_total' if kind == 'Counter' else ''}`" in documented


def test_every_metric_of_the_rater_is_documented_under_the_name_it_has() -> None:
    documented = (ROOT / "docs/memethresher.md").read_text("utf-8")
    for source in (ROOT / "memesearch/rater").rglob("*.py"):
        for kind, name in re.findall(r'(Counter|Gauge|Histogram)\(\s*"(\w+)"', source.read_text("utf-8")):
            assert f"`{name}{'_total' if kind == 'Counter' else ''}" in documented
        for name in re.findall(r"# TYPE (meme_\w+)", source.read_text("utf-8")):
            assert f"`{name}" in documented


def test_alerts_ask_for_metrics_that_there_are() -> None:
    alerts = (ROOT / "deploy/prometheus-alerts.yml").read_text("utf-8")
    asked = {
        name for line in re.findall(r"expr: (.*)", alerts) for name in re.findall(r"(?:meme|mse|modelserver)_\w+", line)
    }
    documented = "".join((ROOT / "docs" / name).read_text("utf-8") for name in ("operations.md", "memethresher.md"))
    assert len(asked) > 6
    for name in asked:
        assert re.search(rf"`{name}[`{{]", documented), name


def test_the_readmes_first_two_commands_are_run_and_test() -> None:
    block = re.search(r"```sh\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    assert block is not None
    assert [line.split("#")[0].strip() for line in block[1].splitlines()] == ["make run", "make test"]


def test_the_requirements_for_gpus_differ_in_faiss_alone() -> None:
    usual, gpu = (
        {line for line in (ROOT / name).read_text("utf-8").splitlines() if line and line[0] != "#"}
        for name in ("requirements.txt", "requirements-gpu.txt")
    )
    assert sorted(line.split("==")[0] for line in usual ^ gpu) == ["faiss-cpu", "faiss-gpu-cu12"]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_relative_link_leads_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", document.read_text("utf-8")):
        if "://" not in target:
            assert (document.parent / target).exists(), target


def test_each_benchmark_has_a_row() -> None:
    table = (ROOT / "docs/benchmarks.md").read_text("utf-8")
    for script in (ROOT / "bench").glob("*.py"):
        if "def main" in script.read_text("utf-8"):
            assert f"bench/{script.name}" in table
