"""A simulated person over simulated vectors, to compare ways of learning a taste; everything follows from one seed.

Vectors have the shape of a CLIP model's on real memes: 1152 numbers, 300 clusters of Zipf-like sizes, variances
that fall about as k^-0.85, a mean of length 0.80. A taste is partly linear in the vector, partly smooth in it,
partly a liking of clusters, partly nothing that the vector knows. Answers follow its differences, with lapses.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from memesearch.taste.labels import Labels
from memesearch.taste.model import Numbers, Vectors

DIMENSIONS, CLUSTERS, DECAY, MEAN_LENGTH = 1152, 300, 0.85, 0.80
CLUSTER_SHARE = 0.5  # of the variance that lies between clusters
SHARES = {"R1": (0.65, 0.05, 0.05, 0.25), "R2": (0.25, 0.25, 0.25, 0.25)}  # linear, smooth, cluster, not in the vector
SLOPE, LAPSE = 2.5, 0.03  # log odds for a difference of one standard deviation of taste; answers by chance
CUTS = (0.75, 3.0)  # of the five grades, in log odds: about 17 % equal, 42 % much better
WAVES = 512  # random Fourier features of the smooth part


@dataclass(frozen=True)
class Person:
    """Attributes:
    vectors: float32 [n, d], unit norm.
    taste: float64 [n]; mean 0, standard deviation 1.
    """

    vectors: Vectors
    taste: Numbers

    def good(self, base_rate: float) -> NDArray[np.bool_]:
        """bool [n]: the best `base_rate` of all."""
        return np.asarray(self.taste >= np.quantile(self.taste, 1 - base_rate))

    def answer(self, first: NDArray[np.int64], second: NDArray[np.int64], graded: bool, seed: int) -> Labels:
        """What this person says of pairs, int64 [p] each: one of five grades, or only which is better.

        The same seed gives the same noise, so graded and forced answers differ only in what the person may say.
        """
        random = np.random.default_rng([seed, 77])
        noise, lapses = random.logistic(size=len(first)), random.random(len(first)) < LAPSE
        felt = SLOPE * (self.taste[first] - self.taste[second]) + noise
        felt = np.where(lapses, random.permutation(felt), felt)
        grade = np.sign(felt)
        if graded:
            grade *= (np.abs(felt) > CUTS[0]).astype(int) + (np.abs(felt) > CUTS[1])
        nothing = np.zeros(0, np.int64)
        told = np.full(len(first), graded)
        return Labels(first, second, grade.astype(np.int8), told, nothing, nothing.astype(np.bool_))

    def decide(self, items: NDArray[np.int64], base_rate: float, seed: int) -> Labels:
        """Keep or discard for each item, int64 [m]."""
        random = np.random.default_rng([seed, 78])
        felt = SLOPE * (self.taste[items] - np.quantile(self.taste, 1 - base_rate)) + random.logistic(size=len(items))
        kept = np.where(random.random(len(items)) < LAPSE, random.random(len(items)) < base_rate, felt > 0)
        nothing = np.zeros(0, np.int64)
        return Labels(nothing, nothing, nothing.astype(np.int8), nothing.astype(np.bool_), items, kept)


def person(kind: str, count: int, seed: int, dimensions: int = DIMENSIONS) -> Person:
    """`kind`: R1 or R2. `count`: of pictures."""
    random = np.random.default_rng([seed, sorted(SHARES).index(kind)])
    vectors, cluster = pictures(count, dimensions, random)
    parts = [
        (vectors - vectors.mean(axis=0)) @ random.standard_normal(dimensions).astype(np.float32),
        smooth(vectors, random),
        random.standard_normal(CLUSTERS)[cluster],
        random.standard_normal(count),
    ]
    taste = sum(np.sqrt(share) * standard(part) for share, part in zip(SHARES[kind], parts, strict=True))
    return Person(vectors, standard(np.asarray(taste)))


def pictures(count: int, dimensions: int, random: np.random.Generator) -> tuple[Vectors, NDArray[np.int64]]:
    """Vectors, float32 [n, d], and the cluster of each, int64 [n]."""
    deviations = np.arange(1, dimensions + 1) ** (-DECAY / 2)
    deviations = (deviations / np.linalg.norm(deviations)).astype(np.float32)  # of length 1 together
    sizes = 1 / np.arange(1, CLUSTERS + 1)
    cluster = random.choice(CLUSTERS, count, p=sizes / sizes.sum())
    centres = random.standard_normal((CLUSTERS, dimensions), np.float32)
    around = random.standard_normal((count, dimensions), np.float32)
    mixed = np.sqrt(CLUSTER_SHARE) * centres[cluster] + np.sqrt(1 - CLUSTER_SHARE) * around
    turn = np.linalg.qr(random.standard_normal((dimensions, dimensions), np.float32))[0]
    vectors = (mixed * deviations).astype(np.float32) @ turn
    vectors -= vectors.mean(axis=0)
    offset = random.standard_normal(dimensions).astype(np.float32)
    ratio = MEAN_LENGTH / np.sqrt(1 - MEAN_LENGTH**2)  # makes the mean of the normed vectors about as long as wanted
    vectors += offset / np.linalg.norm(offset) * ratio
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors, cluster.astype(np.int64)


def smooth(vectors: Vectors, random: np.random.Generator) -> Numbers:
    """A draw of a Gaussian process whose length is a typical distance of two pictures, float64 [n]."""
    length = np.sqrt(2 * (1 - MEAN_LENGTH**2))
    waves = random.standard_normal((vectors.shape[1], WAVES)).astype(np.float32) / np.float32(length)
    phases = random.uniform(0, 2 * np.pi, WAVES).astype(np.float32)
    return np.asarray(np.cos(vectors @ waves + phases) @ random.standard_normal(WAVES))


def standard(values: Numbers) -> Numbers:
    return np.asarray((values - values.mean()) / values.std(), np.float64)


def random_pairs(pool: int, count: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Two different rows of the first `pool` for each answer; longer lists begin with shorter ones."""
    random = np.random.default_rng([seed, 79])
    drawn = random.integers(0, [pool, pool - 1], (count, 2))
    return drawn[:, 0], (drawn[:, 0] + 1 + drawn[:, 1]) % pool
