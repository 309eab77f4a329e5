"""The documentation is held to the code."""

import re
from pathlib import Path

import msgspec
import pytest

from memesearch.config import ClipServerConfig, Config, MseConfig, ThumbnailerConfig, load_config

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "demo/README.md", *sorted((ROOT / "docs").glob("*.md"))]


def documented_keys(program: str) -> dict[str, str]:
    """Key to default, as the table of `program` in docs/configuration.md says."""
    text = (ROOT / "docs/configuration.md").read_text("utf-8")
    section = text.split(f"\n## {program}\n")[1].split("\n## ")[0]
    return {row[0]: row[1] for row in re.findall(r"^\| `(\w+)` \| [\w ]+ \| (.*?) \|", section, re.MULTILINE)}


@pytest.mark.parametrize(
    ("program", "kind"),
    [("clip_server.py", ClipServerConfig), ("mse.py", MseConfig), ("thumbnailer.py", ThumbnailerConfig)],
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


def test_every_route_is_documented() -> None:
    text = (ROOT / "docs/http-api.md").read_text("utf-8")
    sources = [ROOT / "memesearch/clip/routes.py", *(ROOT / "memesearch/backend").glob("*.py")]
    routes = {
        route for source in sources for route in re.findall(r'add_(get|post)\("([^"]+)"', source.read_text("utf-8"))
    }
    assert len(routes) > 10
    for method, path in routes:
        plain = re.sub(r"\{(\w+):[^}]*\}", r"{\1}", path)
        assert f"`{method.upper()} {plain}`" in text


def test_the_readmes_first_two_commands_are_run_and_test() -> None:
    block = re.search(r"```sh\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    assert block is not None
    assert [line.split("#")[0].strip() for line in block[1].splitlines()] == ["make run", "make test"]


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
