"""Vectors that behave as CLIP's do, for benchmarks at sizes for which no real ones are at hand.

    python bench/vectors.py --check                            # beside real CLIP vectors, half a minute
    python bench/vectors.py PATH.npy --n 1000000 [--d 1152]    # float16 [n, d], made in chunks

The distribution. A picture's latent is Gaussian in a power-law spectrum: the variance of the k-th of d axes goes
with (k + 4)^-1.15. A part of it, a third, is shared by all pictures of a topic; smaller parts by those of a topic
within the topic (50 each) and again one below (200 each); the rest is the picture's own. Topics of each level have
sizes after Zipf. The picture's vector is the pictures' mean plus the latent, at unit norm. A text is
sqrt(SHARED) x the latent of the picture it describes + a part of its own, which has the same spectrum along other
axes, around another mean: the gap between the modalities, which is what makes text queries hard for an index.
A random rotation over all keeps the axes of the spectrum from being those of the numbers.

All follows from the seed and the stream; chunk i of a file is stream i, so that a longer file begins as a shorter
one does. The constants were fitted to `corpus/embeddings` (CLIP ViT-B/32), which --check compares them with.
An inverted file finds texts' neighbours among them about as hardly as among real ones, and pictures' more easily.
"""

import argparse
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SPECTRUM = 1.15  # exponent of the variances along the axes
TOPICS = (20, 50, 200)  # at each level, within each topic above it
TOPIC_SHARES = (0.33, 0.15, 0.25)  # of a latent's variance
SHARED = 0.12  # of a text's variance, with the picture it describes
PICTURES_MEAN, TEXTS_MEAN = 0.715, 0.71  # norms of the means
MEANS_COSINE = 0.313
CHUNK = 20_000
NEIGHBOURS = (1, 2, 5, 10, 20, 50, 100)
EIGENVALUES = (1, 2, 3, 6, 11, 21, 51, 101, 201)
CORPUS = Path(os.environ.get("MSE_CORPUS", Path(__file__).resolve().parents[2] / "shared" / "corpus"))

Vectors = NDArray[np.float32]


def unit(vectors: Vectors) -> Vectors:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


class Distribution:
    """Makes pictures and texts as float32 [n, d] of unit norm. Holds 0.8 GB at 1152 dimensions: the topics."""

    def __init__(self, dimensions: int, seed: int = 0) -> None:
        self.dimensions, self.seed = dimensions, seed
        variances = (np.arange(dimensions) + 4.0) ** -SPECTRUM
        self._spread = np.sqrt(variances / variances.sum()).astype(np.float32)
        random = np.random.default_rng([seed, 0])
        self._text_spread = self._spread[random.permutation(dimensions)]
        self._rotation = np.linalg.qr(random.standard_normal((dimensions, dimensions)))[0].astype(np.float32)
        one, other = np.linalg.qr(random.standard_normal((dimensions, 2)))[0].T.astype(np.float32)
        self._pictures_mean = PICTURES_MEAN * one
        self._texts_mean = TEXTS_MEAN * (MEANS_COSINE * one + np.sqrt(1 - MEANS_COSINE**2) * other)
        sizes = [1 / (np.arange(topics) + 2.0) for topics in TOPICS]
        self._sizes = [size / size.sum() for size in sizes]
        self._centres = [
            self._gaussian(random, topics) * np.float32(np.sqrt(share))
            for topics, share in zip(np.cumprod(TOPICS), TOPIC_SHARES, strict=True)
        ]

    def latents(self, n: int, stream: int) -> Vectors:
        """What `n` pictures show, [n, d]."""
        random = np.random.default_rng([self.seed, 1, stream])
        topic = np.zeros(n, np.int64)
        found = self._gaussian(random, n) * np.float32(np.sqrt(1 - sum(TOPIC_SHARES)))
        for topics, sizes, centres in zip(TOPICS, self._sizes, self._centres, strict=True):
            topic = topic * topics + random.choice(topics, n, p=sizes)
            found += centres[topic]
        return found

    def pictures(self, latents: Vectors) -> Vectors:
        """The pictures that show `latents` [n, d]."""
        return unit(self._pictures_mean + latents @ self._rotation * np.float32(np.sqrt(1 - PICTURES_MEAN**2)))

    def texts(self, latents: Vectors, stream: int) -> Vectors:
        """A text for each of the pictures that show `latents` [n, d]."""
        random = np.random.default_rng([self.seed, 2, stream])
        own = random.standard_normal(latents.shape, dtype=np.float32) * self._text_spread
        meant = np.float32(np.sqrt(SHARED)) * latents + np.float32(np.sqrt(1 - SHARED)) * own
        return unit(self._texts_mean + meant @ self._rotation * np.float32(np.sqrt(1 - TEXTS_MEAN**2)))

    def queries(self, n: int) -> dict[str, Vectors]:
        """`n` pictures and `n` texts, of pictures that no file holds."""
        latents = self.latents(2 * n, 2**31)
        return {"picture": self.pictures(latents[:n]), "text": self.texts(latents[n:], 0)}

    def write(self, path: Path, n: int) -> None:
        """`n` pictures as float16 [n, d] in NumPy's format; a file that is there is complete."""
        temporary = path.with_suffix(".part")
        file = np.lib.format.open_memmap(temporary, "w+", np.float16, (n, self.dimensions))
        for start in range(0, n, CHUNK):
            made = self.pictures(self.latents(CHUNK, start // CHUNK))
            file[start : start + CHUNK] = made[: n - start]
        file.flush()
        temporary.replace(path)

    def _gaussian(self, random: np.random.Generator, n: int) -> Vectors:
        return random.standard_normal((n, self.dimensions), dtype=np.float32) * self._spread


def real_vectors() -> tuple[Vectors, Vectors, Vectors]:
    """Pictures [275, 512], captions [500, 512] and the captions' pictures [500, 512] from the corpus."""
    folder = CORPUS / "embeddings"

    def load(name: str) -> Vectors:
        return unit(np.load(folder / name).astype(np.float32).reshape(-1, 512))

    shown = load("flickr8k_clip_vit_b32/image_embeddings.npy")
    others = [load(f"{name}_clip_vit_b32/image_embeddings.npy") for name in ("unsplash125", "decoyer50")]
    _, first = np.unique(shown.round(5), axis=0, return_index=True)  # each has five captions
    return np.vstack([shown[first], *others]), load("flickr8k_clip_vit_b32/text_embeddings.npy"), shown


def made_vectors(pictures: int, texts: int, described: int) -> tuple[Vectors, Vectors, Vectors]:
    """As many made ones, `texts` of them about the first `described` pictures in turn."""
    distribution = Distribution(512)
    latents = distribution.latents(pictures, 0)
    meant = latents[np.arange(texts) % described]
    return distribution.pictures(latents), distribution.texts(meant, 0), distribution.pictures(meant)


def decay(cosines: Vectors) -> dict[str, float]:
    """Mean cosine of the k-th neighbour of each row's vector."""
    best = -np.sort(-cosines, axis=1)
    return {f"neighbour {k}": float(best[:, k - 1].mean()) for k in NEIGHBOURS}


def statistics(pictures: Vectors, texts: Vectors, shown: Vectors) -> dict[str, dict[str, float]]:
    """What is compared, by section; `shown` [n, d] are the pictures of the `texts` [n, d]."""

    def histogram(cosines: Vectors) -> dict[str, float]:
        low, middle, high = np.percentile(cosines, [1, 50, 99])
        return {"mean": cosines.mean(), "std": cosines.std(), "p1": low, "p50": middle, "p99": high}

    def pairs(vectors: Vectors) -> Vectors:
        return (vectors @ vectors.T)[np.triu_indices(len(vectors), 1)]

    means = pictures.mean(0), texts.mean(0)
    norms = [float(np.linalg.norm(mean)) for mean in means]
    among = pictures @ pictures.T
    np.fill_diagonal(among, -1)
    shares = np.linalg.svd(pictures - means[0], compute_uv=False) ** 2
    shares /= shares.sum()
    return {
        "picture-picture": histogram(pairs(pictures)) | decay(among),
        "text-text": histogram(pairs(texts)),
        "text-picture": histogram(texts @ pictures.T) | decay(texts @ pictures.T),
        "matched pairs": histogram((texts * shown).sum(1)),
        "pictures' spectrum": {f"share {k}": float(shares[k - 1]) for k in EIGENVALUES},
        "means": {"norm, pictures": norms[0], "norm, texts": norms[1], "cosine": means[0] @ means[1] / np.prod(norms)},
    }


def probes(n: int, dimensions: int, lists: int, queries: int = 500) -> dict[str, Any]:
    """How many of `lists` an inverted file over `n` vectors must ask, for texts and for pictures.

    A neighbour is found with as many probes as the rank of its list by the query, so one ranking of all lists
    gives the recall@10 at every number of probes.
    """
    import faiss

    distribution = Distribution(dimensions)
    chunks = [distribution.pictures(distribution.latents(CHUNK, i)) for i in range(-(-n // CHUNK))]
    vectors = np.vstack(chunks)[:n]
    clusters = faiss.Kmeans(dimensions, lists, niter=10, spherical=True, max_points_per_centroid=64, seed=1)
    clusters.train(vectors)
    _, lists_of = clusters.index.search(vectors, 1)
    figures: dict[str, Any] = {"n": n, "lists": lists}
    needed: dict[str, Any] = {}
    for kind, asked in distribution.queries(queries).items():
        _, neighbours = faiss.knn(asked, vectors, 10, faiss.METRIC_INNER_PRODUCT)
        order = np.argsort(-(asked @ clusters.centroids.T), axis=1)
        rank = np.argsort(order, axis=1)
        ranks = np.take_along_axis(rank, lists_of[:, 0][neighbours], axis=1) + 1
        needed[kind] = {share: int(np.quantile(ranks, share)) for share in (0.9, 0.95, 0.98, 0.99)}
        figures[kind] = {
            "recall at 32 probes": round(float((ranks <= 32).mean()), 3),
            "probes for recall": needed[kind],
        }
    figures["text to picture"] = {s: round(needed["text"][s] / needed["picture"][s], 2) for s in needed["text"]}
    return figures


def check(n: int, dimensions: int, lists: int) -> int:
    if not CORPUS.is_dir():
        print(f"no real vectors: {CORPUS} is not there (MSE_CORPUS names it)")
        return 2
    real = statistics(*real_vectors())
    made = statistics(*made_vectors(275, 500, 100))
    for section, values in real.items():
        print(f"{section:36} real    made  made - real")
        for name, value in values.items():
            print(f"    {name:30} {value:7.3f} {made[section][name]:7.3f} {made[section][name] - value:+7.3f}")
    found = probes(n, dimensions, lists)
    print(
        f"\ninverted file, {n:,} made vectors, {lists} lists (known of real ones, IVF4096 at 32 probes: 0.95 and 0.84)"
    )
    for kind in ("picture", "text"):
        print(f"    {kind:8} recall@10 {found[kind]['recall at 32 probes']:.3f}; {found[kind]['probes for recall']}")
    print(f"    probes of texts to pictures' (baseline, known of real ones: 4): {found['text to picture']}")
    rounded = [{s: {k: round(float(v), 4) for k, v in d.items()} for s, d in each.items()} for each in (real, made)]
    print(json.dumps({"real": rounded[0], "made": rounded[1], "probes": found}))
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path, nargs="?")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--n", type=int, default=200_000)
    parser.add_argument("--d", type=int, default=512)
    parser.add_argument("--lists", type=int, default=4096)
    options = parser.parse_args()
    if options.check or options.path is None:
        return check(options.n, options.d, options.lists)
    Distribution(options.d).write(options.path, options.n)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
