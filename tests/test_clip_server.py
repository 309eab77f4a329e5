"""The embedding service over HTTP, as protocol and configuration say."""

import io
import json
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import msgspec
import numpy as np
import open_clip
import pytest
from embedding import ask, embed, encoded
from launched import PROJECT
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from services import Program

from memesearch.picture import Preprocessing, fit


def test_vectors_are_unit_norm_in_order_and_lists_may_exceed_the_largest_batch(service: Program) -> None:
    texts = [f"picture {n}" for n in range(20)]
    vectors = embed(service, text=texts)
    assert len(vectors) == 20
    for text, vector in zip(texts, vectors, strict=True):
        assert abs(np.linalg.norm(vector) - 1) < 2e-3
        assert vector @ embed(service, text=[text])[0] > 0.999


def test_pictures_agree_with_openclips_own_preprocessing_and_model(service: Program) -> None:
    pictures = [encoded(n, size) for n, size in enumerate([(300, 200), (96, 96), (50, 400)])]
    source = f"local-dir:{PROJECT / 'demo/model'}"
    model, _, transform = open_clip.create_model_and_transforms(source)
    model.eval()
    for raw, vector in zip(pictures, embed(service, images=pictures), strict=True):
        batch = transform(Image.open(io.BytesIO(raw))).unsqueeze(0)
        expected = model.encode_image(batch, normalize=True)[0].detach().numpy()
        assert vector @ expected > 0.999


@pytest.mark.parametrize("mode", ["squash", "shortest", "longest"])
@pytest.mark.parametrize("size", [(300, 200), (199, 301), (96, 96), (97, 1000), (31, 20)])
def test_fitting_equals_openclips_transform_but_for_roundings(mode: str, size: tuple[int, int]) -> None:
    image = Image.open(io.BytesIO(encoded(7, size)))
    config = PreprocessCfg(size=96, mean=(0, 0, 0), std=(1, 1, 1), resize_mode=mode, interpolation="bicubic")
    expected = image_transform_v2(config, is_train=False)(image).permute(1, 2, 0).numpy()
    ours = np.asarray(fit(image, Preprocessing(96, 96, mode)))
    levels = np.abs(ours - np.round(expected * 255))
    assert levels.max() <= 2
    assert (levels > 0).mean() <= 0.05


def test_the_configuration_says_what_a_client_needs(service: Program) -> None:
    config = msgspec.msgpack.decode(ask(service, "config")[2])
    assert (config["batch"], config["image_size"], config["embedding_size"]) == (8, [96, 96], 256)
    assert config["model_id"].startswith("openclip-")


def test_one_bad_picture_is_named_and_harms_nothing_else(service: Program) -> None:
    status, headers, raw = ask(service, "", msgspec.msgpack.encode({"images": [encoded(1), b"rubbish", encoded(2)]}))
    assert status == 400
    assert headers["X-Item-Index"] == "1"
    assert msgspec.msgpack.decode(raw) == "picture 1 of the list is not a picture in a known format"
    assert len(embed(service, images=[encoded(1), encoded(2)])) == 2


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"\xc1", 400, "not what is expected"),
        (msgspec.msgpack.encode({}), 400, "exactly one of"),
        (msgspec.msgpack.encode({"text": ["a"], "images": []}), 400, "exactly one of"),
        (msgspec.msgpack.encode({"text": [5]}), 400, "Expected `str`, got `int`"),
        (msgspec.msgpack.encode({"images": ["text"]}), 400, "Expected `bytes`"),
    ],
)
def test_bad_bodies_are_answered_in_messagepack(service: Program, body: bytes, status: int, words: str) -> None:
    answer = ask(service, "", body)
    assert answer[0] == status
    assert words in msgspec.msgpack.decode(answer[2])


def test_wrong_types_and_unknown_routes_are_answered_in_json(service: Program) -> None:
    status, _, raw = ask(service, "", b"a=b", "text/plain")
    assert (status, list(json.loads(raw))) == (415, ["error"])
    status, _, raw = ask(service, "nothing/here", None, "application/json")
    assert (status, list(json.loads(raw))) == (404, ["error"])


def test_people_and_scripts_embed_with_json_or_a_form(service: Program) -> None:
    request = urllib.request.Request(
        service.url + "embed", json.dumps({"text": "a cat"}).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        answer = json.load(response)
    np.testing.assert_allclose(answer["embedding"], embed(service, text=["a cat"])[0], atol=1e-3)
    form = (
        b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n' + encoded(3) + b"\r\n--x--\r\n"
    )
    status, _, raw = ask(service, "embed", form, "multipart/form-data; boundary=x")
    assert status == 200
    np.testing.assert_allclose(json.loads(raw)["embedding"], embed(service, images=[encoded(3)])[0], atol=1e-3)


def test_metrics_keep_their_names(service: Program) -> None:
    text = ask(service, "metrics")[2].decode()
    for name in ("modelserver_total_items", "modelserver_inftime", "modelserver_batchcount"):
        assert f"\n{name}" in text
    assert ask(service, "")[0] == 204


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ('{"model": "x"}', "missing required field `port`"),
        ('{"model": "x", "port": 1, "prot": 2}', "unknown field `prot`"),
        ('{"model": "x", "port": "1"}', "Expected `int`, got `str` - at `$.port`"),
        ('{"model": "x", "port": 70000}', "`port` must be between"),
        ('{"model": ', "is not valid JSON"),
        ('{"model": "local-dir:nowhere", "port": 9}', "has no open_clip_config.json"),
        ('{"model": "no-such-model", "port": 9}', "knows no pretrained model named no-such-model"),
        ('{"model": "ViT-B-32", "pretrained": "mine", "port": 9}', "has no tag mine; it has openai"),
        ('{"model": "local-dir:m", "port": 9, "device": "abacus"}', "`device`: abacus cannot be used"),
    ],
)
def test_a_config_that_cannot_be_used_is_one_line_and_status_2(tmp_path: Path, config: str, words: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(config)
    ended = run_clip_server(path)
    assert ended.returncode == 2
    line = ended.stderr.strip().splitlines()[-1]
    assert words in line
    assert "Traceback" not in ended.stderr


def run_clip_server(config: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(PROJECT / "clip_server.py"), str(config)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_a_port_in_use_is_one_line_and_status_2(service: Program) -> None:
    ended = run_clip_server(service.config)
    assert ended.returncode == 2
    assert f"cannot listen on 127.0.0.1:{service.port}" in ended.stderr.splitlines()[-1]
