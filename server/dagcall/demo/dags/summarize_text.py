"""The sentences are picked by TextRank: a sentence counts as central when many others share words with it.

Nothing is written anew and no language model is asked, so the summary holds only what the text itself says. It works
for any language that ends its sentences with punctuation; English, German, French and Spanish filler words are ignored.

**Tasks:** `split_sentences` → `score_sentences` → `summarize`. The value of `summarize` is the dag's result:

```json
{"summary": "…", "sentences": [{"position": 1, "text": "…", "score": 1.0}], "sentences_total": 12, "keywords": ["…"]}
```

`position` counts from 1 in the text; `score` is relative to the best sentence, which has 1.
"""

import math
import re
import unicodedata
from collections import Counter
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

from airflow.sdk import Param, dag, get_current_context, task

DATA = Path(__file__).parent / "data"
TERMINATORS = ".!?…‽。！？｡؟۔।॥።"  # noqa: RUF001 - the punctuation of many scripts is the point
#: These end a sentence with no space after them.
UNSPACED_TERMINATORS = "。！？｡"  # noqa: RUF001
CLOSERS = "\"'”’»›)]」』）"  # noqa: RUF001
OPENERS = "\"'“‘«‹([„"  # noqa: RUF001
BOUNDARY = re.compile(
    rf"[{re.escape(TERMINATORS)}]+[{re.escape(CLOSERS)}]*(?:\s+|$)|[{UNSPACED_TERMINATORS}]+[{re.escape(CLOSERS)}]*"
)
#: Scripts written without spaces: their words are taken as pairs of characters.
UNSPACED_SCRIPTS = re.compile(r"[\u0e00-\u0eff\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
#: Japanese writes endings and particles in it, and the words that carry meaning otherwise.
HIRAGANA = re.compile(r"[\u3040-\u309f]+")
FULL_SENTENCE = 4  # with fewer than three words that count, a sentence counts for less: it may be a heading
DAMPING, ROUNDS = 0.85, 30  # of PageRank (Brin and Page, 1998); 30 rounds settle far below the three decimals shown


@cache
def word_list(name: str) -> frozenset[str]:
    """Read `abbreviations`, `filler_words` or `months` (before these, a number with a full stop is a date)."""
    return frozenset((DATA / f"{name}.txt").read_text(encoding="utf-8").split())


def closes_sentence(before: str, terminator: str, after: str) -> bool:
    """Tell whether the text between two sentence candidates is a real boundary.

    Args:
        before: the text up to the terminator.
        terminator: punctuation, closing quotes and the white space behind.
        after: the text that follows.
    """
    if not after:
        return True
    if after[0].islower():
        return False
    if terminator.strip() != ".":
        return True
    word = (before.rsplit(maxsplit=1) or [""])[-1].lstrip(OPENERS)
    is_initial = len(word) == 1 and word.isalpha() and word != "I"
    is_acronym = bool(re.fullmatch(r"(?:\w\.)+\w", word)) and word.lower() not in {"a.m", "p.m"}
    is_numbering = word.isdecimal() and before.strip() == word
    is_date = word.isdecimal() and after.split(maxsplit=1)[0].rstrip(",") in word_list("months")
    return not (is_initial or is_acronym or is_numbering or is_date or word.lower() in word_list("abbreviations"))


def sentences_of(text: str) -> list[str]:
    """Split a text into sentences; an empty line ends one too, so a heading stands alone."""
    sentences = []
    for paragraph in re.split(r"\n\s*\n", text):
        flat = " ".join(paragraph.split())
        start = 0
        for match in BOUNDARY.finditer(flat):
            if closes_sentence(flat[start : match.start()], match[0], flat[match.end() :]):
                sentences.append(flat[start : match.end()].strip())
                start = match.end()
        sentences.append(flat[start:].strip())
    return [sentence for sentence in sentences if any(map(str.isalnum, sentence))]


def words_of(sentence: str) -> list[str]:
    """List the words that carry meaning, in lower case; in scripts without spaces, pairs of characters."""
    folded = unicodedata.normalize("NFKC", sentence).casefold()
    runs = ["".join(run) for is_word, run in groupby(folded, lambda c: unicodedata.category(c)[0] in "LMN") if is_word]
    words: list[str] = []
    for run in runs:
        if UNSPACED_SCRIPTS.search(run):
            stems = filter(None, HIRAGANA.split(run))
            words += [stem[i : i + 2] for stem in stems for i in range(max(1, len(stem) - 1))]
        elif len(run) > 1 and run not in word_list("filler_words"):
            words.append(run)
    return words


def text_rank(bags: list[set[str]]) -> list[float]:
    """Rank sentences by the words they share, after Mihalcea and Tarau (2004); the best has 1."""
    size = len(bags)
    weights = [[0.0] * size for _ in bags]
    for i, left in enumerate(bags):
        for j in range(i):
            if shared := len(left & bags[j]):
                weights[i][j] = weights[j][i] = shared / (math.log1p(len(left)) + math.log1p(len(bags[j])))
    sums = [sum(row) for row in weights]
    links = [[(j, weight / sums[j]) for j, weight in enumerate(row) if weight] for row in weights]
    ranks = [1.0] * size
    for _ in range(ROUNDS):
        ranks = [1 - DAMPING + DAMPING * sum(share * ranks[j] for j, share in row) for row in links]
    return ranks


@task(retries=0)
def split_sentences() -> list[str]:
    """Cut the param `text` into sentences."""
    sentences = sentences_of(get_current_context()["params"]["text"])
    if not sentences:
        raise ValueError("The param `text` holds no words: give at least one sentence.")
    return sentences


@task(retries=0)
def score_sentences(sentences: list[str]) -> list[float]:
    """Rank every sentence: TextRank, a little more for the opening, double when it names one of `focus`."""
    focus = get_current_context()["params"]["focus"]
    if not (isinstance(focus, list) and all(isinstance(word, str) for word in focus)):
        raise ValueError('The param `focus` must be a list of words, such as ["price", "delivery"].')
    wanted = {word for entry in focus for word in words_of(entry)}
    bags = [set(words_of(sentence)) for sentence in sentences]
    scores = [
        rank
        * (1 + 0.3 / (1 + position))
        * min(1, (1 + len(bags[position])) / FULL_SENTENCE)
        * (2 if bags[position] & wanted else 1)
        for position, rank in enumerate(text_rank(bags))
    ]
    return [round(score / max(scores), 3) for score in scores]


@task(retries=0)
def summarize(sentences: list[str], scores: list[float]) -> dict[str, Any]:
    """Put the best sentences back into the order of the text and name the keywords."""
    params = get_current_context()["params"]
    best = sorted(sorted(range(len(sentences)), key=lambda i: (-scores[i], i))[: int(params["max_sentences"])])
    if params["style"] == "bullets":
        summary = "\n".join(f"- {sentences[i]}" for i in best)
    else:
        spaced = (s if s[-1] in UNSPACED_TERMINATORS else f"{s} " for s in (sentences[i] for i in best))
        summary = "".join(spaced).strip()
    words = Counter(word for sentence in sentences for word in words_of(sentence) if not word.isdecimal())
    spread = Counter(word for sentence in sentences for word in set(words_of(sentence)))
    ranked = sorted(words, key=lambda word: (-words[word] * math.log(1 + len(sentences) / spread[word]), word))
    return {
        "summary": summary,
        "sentences": [{"position": i + 1, "text": sentences[i], "score": scores[i]} for i in best],
        "sentences_total": len(sentences),
        "keywords": ranked[: int(params["keywords"])],
    }


@dag(
    schedule=None,
    catchup=False,
    tags=["mcp", "text"],
    max_active_runs=128,
    dag_display_name="Summarize a text",
    description=(
        "Shorten a text to its most important sentences, word for word, and name its keywords. "
        "Sentences with a word of the list `focus` are preferred."
    ),
    doc_md=__doc__,
    params={
        "text": Param(
            type="string",
            title="Text",
            description="The text to summarize, in any language; empty lines separate paragraphs.",
            minLength=1,
            maxLength=50_000,
            format="multiline",
            examples=[
                "The ferry was late. Its engine had failed at noon. Nobody was hurt, but the harbour stayed closed."
            ],
        ),
        "max_sentences": Param(
            3,
            type="integer",
            title="Sentences at most",
            description="How many sentences the summary may have.",
            minimum=1,
            maximum=20,
        ),
        "style": Param(
            "paragraph",
            type="string",
            title="Style",
            description="How the sentences are put together.",
            enum=["paragraph", "bullets"],
            values_display={"paragraph": "One paragraph", "bullets": "A list with one line per sentence"},
        ),
        "keywords": Param(
            5, type="integer", description="How many keywords to name; 0 for none.", minimum=0, maximum=20
        ),
        "focus": [],
    },
)
def summarize_text() -> Any:
    """Split, score, summarize; the returned task is the dag's declared result on Airflow 3.3 and newer."""
    sentences = split_sentences()
    return summarize(sentences, score_sentences(sentences))


summarize_text()
