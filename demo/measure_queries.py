"""Count how many of the typed queries put a right picture among the first ten results.

    python demo/sample_library.py LIBRARY --labels LABELS
    python demo/measure_queries.py LIBRARY LABELS

Uses the bundled model and queries.json; prints one line per query, then one JSON line.
"""

import json
import sys
from pathlib import Path

import torch
from evaluate import embed_texts
from model_folder import load_folder
from PIL import Image

DEMO = Path(__file__).parent


def main() -> None:
    """Embed the library, search it exactly, and print the counts."""
    library, labels = Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text("utf-8"))
    names, queries = list(labels), json.loads((DEMO / "queries.json").read_text("utf-8"))
    model, preprocess = load_folder(DEMO / "model")
    pictures = torch.stack([preprocess(Image.open(library / n).convert("RGB")) for n in names])
    with torch.inference_mode():
        found = model.encode_image(pictures, normalize=True)
    scores = embed_texts(model, DEMO / "model", [q["query"] for q in queries]) @ found.T
    answered = 0
    for query, row in zip(queries, scores, strict=True):
        wanted = set(query["any_of"])
        right = sum(bool(wanted & set(labels[names[i]]["things"])) for i in row.topk(10).indices)
        answered += right > 0
        print(f"{query['query']}: {right} right among the first 10")
    print(json.dumps({"queries": len(queries), "right_in_first_10": answered}))


if __name__ == "__main__":
    main()
