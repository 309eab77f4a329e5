"""What is said of a configuration or a request that is not what it should be."""

from pathlib import Path

import msgspec
import pytest

from memesearch.config import ClipServerConfig, Config, MseConfig, load_config
from memesearch.errors import ConfigError
from memesearch.mistyped import with_way_out
from memesearch.rater.config import RaterConfig

MSE = {"clip_server": "http://127.0.0.1:1708/", "db_path": "library.db", "port": 1707, "files": "pictures"}
CLIP = {"model": "demo/model", "port": 1708}


@pytest.mark.parametrize(
    ("kind", "content", "words"),
    [
        (ClipServerConfig, {**CLIP, "precision": "fp16"}, "'fp16' - at `$.precision`; known are auto, bfloat16, float"),
        (ClipServerConfig, {**CLIP, "precison": "auto"}, "unknown field `precison`; did you mean `precision`?;"),
        (ClipServerConfig, {**CLIP, "colour": "red"}, "unknown field `colour`; docs/configuration.md"),
        (ClipServerConfig, {**CLIP, "device": [1]}, "Expected `str`, got `int` - at `$.device[0]`; docs"),
        (ClipServerConfig, [], "Expected `object`, got `array`; docs"),
        (MseConfig, {**MSE, "index": {"type": "exakt"}}, "`$.index.type`; known are auto, compact, exact, milvus;"),
        (MseConfig, {**MSE, "index": {"typ": "exact"}}, "unknown field `typ` - at `$.index`; did you mean `type`?"),
        (RaterConfig, {"sources": [{"type": "redit"}]}, "known are reddit, lemmy, mastodon, feed, folder;"),
        (RaterConfig, {"sources": [{"type": "reddit", "subredit": "memes"}]}, "did you mean `subreddit`?"),
    ],
)
def test_a_mistake_in_a_configuration_is_answered_with_what_would_be_right(
    tmp_path: Path, kind: type[Config], content: object, words: str
) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(msgspec.json.encode(content))
    with pytest.raises(ConfigError) as told:
        load_config(path, kind)
    assert words in str(told.value)


@pytest.mark.parametrize(
    "message", ["", " - at `$", "Invalid enum value ' - at `$.a[`' - at `$.no.such[0].place`", "`"]
)
def test_what_cannot_be_understood_is_passed_on(message: str) -> None:
    assert with_way_out(message, MseConfig) == message
