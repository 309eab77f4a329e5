"""From a query's terms to ranked pictures.

A query is a list of weighted terms. Its vector is the sum of weight x vector over the terms; a
picture's score is the inner product with its unit vector. The richer query language of the search
box will parse into the same terms.
"""

import asyncio
import math
from collections import OrderedDict
from typing import Annotated, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from memesearch import wire
from memesearch.clip.client import ClipClient
from memesearch.errors import BadRequest, MemeSearchError, NotFound, Unavailable
from memesearch.library.reads import EVERYTHING
from memesearch.library.records import Filter
from memesearch.library.store import Store
from memesearch.search.fuse import fuse
from memesearch.search.index.base import Among, QueryKind
from memesearch.search.live import LiveIndex
from memesearch.search.text import search_words

CACHED_TEXTS = 2000
CACHED_FILTERS = 8
TEXT_WEIGHT = 1.5  # a picture that has the very words should pass one that only means something like them
MAX_TERMS = 64
LONGEST = 1e18  # norm of a query's vector: float32 has no room for the squares of larger numbers
MAX_CHARACTERS = 4000  # of a text; a model reads a few hundred at most
FEW = msgspec.Meta(max_length=MAX_TERMS)  # checked while a body is decoded
Numbers = Annotated[list[float], msgspec.Meta(max_length=65_536)]


class Term(msgspec.Struct, forbid_unknown_fields=True):
    """One term; exactly one of the fields beside `weight` is given."""

    text: str | None = None
    image: str | None = None
    embedding: Numbers | str | None = None
    predefined_embedding: str | None = None
    file: str | None = None
    weight: float = 1.0

    def __post_init__(self) -> None:
        given = [self.text, self.image, self.embedding, self.predefined_embedding, self.file]
        if sum(value is not None for value in given) != 1:
            raise ValueError("a term has exactly one of text, image, embedding, predefined_embedding and file")
        if self.text is not None and len(self.text) > MAX_CHARACTERS:
            raise ValueError(f"a text has at most {MAX_CHARACTERS:,} characters, this one has {len(self.text):,}")
        if not math.isfinite(self.weight) or abs(self.weight) > 1e6:
            raise ValueError("`weight` must be a number between -1,000,000 and 1,000,000")

    @property
    def kind(self) -> str:
        return next(name for name in self.__struct_fields__ if getattr(self, name) is not None)


Terms = Annotated[list[Term], FEW]


class Ranked(msgspec.Struct):
    """A picture of a fused answer; ranks start at 1, None where a ranking does not have it."""

    content_id: int
    score: float
    vector_rank: int | None
    text_rank: int | None


class Searcher:
    """Answers queries for one index at a time; the library says which."""

    def __init__(self, store: Store, client: ClipClient, predefined: dict[str, list[float]]) -> None:
        self._store, self._client = store, client
        self.predefined = predefined
        self._filters: OrderedDict[tuple[Filter, int], Among] = OrderedDict()
        self._texts: OrderedDict[tuple[str, str], bytes] = OrderedDict()

    async def query_vector(self, terms: list[Term], index: LiveIndex) -> NDArray[np.float32]:
        """float32 [d], the weighted sum. Raises BadRequest, NotFound, Unavailable."""
        if len(terms) > MAX_TERMS:
            raise BadRequest(f"a query has at most {MAX_TERMS} terms, this one has {len(terms)}")
        texts = await self._embed_texts([term.text for term in terms if term.text is not None], index.model_id)
        total = np.zeros(index.dimensions, np.float32)
        for term in terms:
            vector = texts[term.text] if term.text is not None else await self._vector(term, index)
            with np.errstate(over="ignore", invalid="ignore"):
                total += np.float32(term.weight) * vector
        if not float(np.linalg.norm(total.astype(np.float64))) <= LONGEST:
            raise BadRequest("the terms' weights times their embeddings are larger than a search can add up")
        return total

    async def _vector(self, term: Term, index: LiveIndex) -> NDArray[np.float32]:
        if term.image is not None:
            raw = wire.from_base64(term.image, "the picture of a term")
            return await self.embed_picture(raw, index)
        if term.file is not None:
            return await self._vector_of_file(term.file, index)
        if isinstance(term.embedding, str):
            raw = wire.from_base64(term.embedding, "the `embedding` of a term")
            if len(raw) % 2:
                raise BadRequest("the `embedding` of a term is not made of float16 numbers")
            values: Any = wire.from_bytes(raw)
        elif term.predefined_embedding is not None:
            if term.predefined_embedding not in self.predefined:
                raise NotFound(f"there is no predefined embedding named {term.predefined_embedding!r}")
            values = self.predefined[term.predefined_embedding]
        else:
            values = term.embedding
        with np.errstate(over="ignore"):  # what is too large becomes infinite, which is refused
            vector = np.asarray(values, dtype=np.float32)
        return checked(vector, index.dimensions)

    async def _vector_of_file(self, path: str, index: LiveIndex) -> NDArray[np.float32]:
        content = await self._store.content_at(path)
        vectors = [] if content is None else await self._store.vectors_of(content, index.model)
        if not vectors:
            raise NotFound(f"the library has no picture {path!r}")
        mean = np.mean([wire.from_bytes(vector).astype(np.float32) for vector in vectors], axis=0)
        return np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-6), np.float32)

    async def embed_picture(self, raw: bytes, index: LiveIndex) -> NDArray[np.float32]:
        """float32 unit vector [d] of an encoded picture."""
        vectors = await self._client.embed_pictures([raw], index.model_id)
        return wire.from_bytes(vectors[0]).astype(np.float32)

    async def _embed_texts(self, texts: list[str], model_id: str) -> dict[str, NDArray[np.float32]]:
        """The vectors of texts, from the cache where they are there."""
        known = {text: self._texts[model_id, text] for text in texts if (model_id, text) in self._texts}
        new = [text for text in dict.fromkeys(texts) if (model_id, text) not in self._texts]
        if new:
            known |= zip(new, await self._client.embed_text(new, model_id), strict=True)
        for text, vector in known.items():
            self._texts[model_id, text] = vector
            self._texts.move_to_end((model_id, text))
        while len(self._texts) > max(CACHED_TEXTS, len(texts)):
            self._texts.popitem(last=False)
        return {text: wire.from_bytes(vector).astype(np.float32) for text, vector in known.items()}

    async def by_vector(
        self, terms: list[Term], k: int, index: LiveIndex, among: Among | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Scores and contents, best first. Raises BadRequest, NotFound, Unavailable."""
        vector = await self.query_vector(terms, index)
        kind: QueryKind = "picture" if all(term.image or term.file for term in terms) else "text"
        if all(term.text for term in terms):
            index.note_text(vector)
        return await asyncio.to_thread(index.vectors.search, vector, k, among, kind)

    async def among(self, chosen: Filter) -> Among | None:
        """The contents that pass a filter; None when all do."""
        if chosen == EVERYTHING:
            return None
        now = await self._store.last_change()
        if (chosen, now) not in self._filters:
            contents = np.array(await self._store.contents_where(chosen), np.int64)
            self._filters[chosen, now] = await asyncio.to_thread(Among, contents)
        self._filters.move_to_end((chosen, now))
        while len(self._filters) > CACHED_FILTERS:
            self._filters.popitem(last=False)
        return self._filters[chosen, now]

    async def fused(
        self, terms: list[Term], k: int, index: LiveIndex | None, chosen: Filter = EVERYTHING
    ) -> tuple[list[Ranked], list[str]]:
        """Vectors' and words' rankings joined, best first, and sentences on what could not be asked."""
        among = await self.among(chosen)
        notices: list[str] = []
        by_vector: list[int] = []
        try:
            if index is None:
                raise Unavailable("no picture has been indexed yet")
            by_vector = [int(content) for content in (await self.by_vector(terms, k, index, among))[1]]
        except (BadRequest, NotFound):
            raise
        except MemeSearchError as error:
            if not any(term.text for term in terms):
                raise
            notices.append(f"Only words written in pictures and names were searched: {error}.")
        words = " ".join(term.text for term in terms if term.text is not None and term.weight > 0)
        by_words = await search_words(self._store, words, chosen)
        joined = fuse(
            [
                (by_vector, [1.0] * len(by_vector)),
                ([content for content, _ in by_words], [TEXT_WEIGHT * share for _, share in by_words]),
            ]
        )
        vector_ranks = {content: rank for rank, content in enumerate(by_vector, start=1)}
        text_ranks = {content: rank for rank, (content, _) in enumerate(by_words, start=1)}
        ranked = [Ranked(c, score, vector_ranks.get(c), text_ranks.get(c)) for c, score in joined]
        return ranked, notices


def checked(vector: NDArray[np.float32], dimensions: int) -> NDArray[np.float32]:
    """The vector itself. Raises BadRequest unless it has the right size and only finite numbers."""
    if vector.shape != (dimensions,):
        raise BadRequest(f"an embedding has {vector.size} numbers, but this library's model makes {dimensions}")
    if not np.isfinite(vector).all():
        raise BadRequest("an embedding has a number that is not finite or too large")
    return vector
