"""One mapped task per text, so the texts are scored in parallel and the answer is a list in the order of the input.

**Sentiment** adds the weights of known words (`not` and its kin turn the next three words round, `very` and its kin
strengthen the next one) and squeezes the sum into -1 to 1. **Readability** is the Flesch reading ease, for German in
Amstad's version: 100 is very easy, below 30 very hard. A text without words is neutral and has no readability.

The value of one mapped `score`:

```json
{"text": "…", "words": 8, "sentiment": "positive", "score": 0.612, "readability": 84.9, "known_words": ["good"]}
```
"""

import csv
import math
import re
from pathlib import Path
from typing import Any

from airflow.sdk import Param, dag, get_current_context, task

#: Weights from -3 to 3, as in AFINN (Nielsen, 2011); the choice of words is our own.
LEXICON = Path(__file__).parent / "data" / "sentiment_words.csv"
NEGATIONS = {
    "en": frozenset(
        ["not", "no", "never", "don't", "doesn't", "didn't", "isn't", "wasn't", "can't", "won't", "without"]
    ),
    "de": frozenset(["nicht", "kein", "keine", "keinen", "nie", "niemals", "ohne"]),
}
STRENGTHENERS = {
    "en": frozenset(["very", "really", "extremely", "so", "absolutely"]),
    "de": frozenset(["sehr", "wirklich", "äußerst", "so", "absolut"]),
}
NEGATION_REACH = 3  # words after a negation that it turns round
SQUEEZE = 15.0  # VADER's constant (Hutto and Gilbert, 2014): a sum of 4 gives 0.72

#: Flesch (1948) and Amstad (1978): base, weight of words per sentence, weight of syllables per word.
READING_EASE = {"en": (206.835, 1.015, 84.6), "de": (180.0, 1.0, 58.5)}


def syllables_in(word: str, language: str) -> int:
    """Count the vowel groups of a word, without the silent e of English."""
    groups = len(re.findall(r"[aeiouyäöüàáâéèêíîóôúû]+", word))
    is_silent = language == "en" and word.endswith("e") and not word.endswith(("le", "ee"))
    return max(1, groups - is_silent)


def sentiment_of(words: list[str], language: str, weights: dict[str, float]) -> tuple[float, list[str]]:
    """Add up the weights of the known words.

    Returns:
        The score between -1 and 1, and the known words in the order of the text.
    """
    total = 0.0
    known = []
    for position, word in enumerate(words):
        if word in weights:
            before = words[max(0, position - NEGATION_REACH) : position]
            sign = -1 if NEGATIONS[language].intersection(before) else 1
            strength = 1.5 if STRENGTHENERS[language].intersection(before[-1:]) else 1.0
            total += weights[word] * sign * strength
            known.append(word)
    return total / math.sqrt(total * total + SQUEEZE), known


def readability_of(text: str, words: list[str], language: str) -> float:
    """Compute the reading ease of a text that has at least one word, to one decimal."""
    sentences = max(1, len(re.findall(r"[.!?…]+(?=\s|$)", text)))
    base, sentence_weight, syllable_weight = READING_EASE[language]
    syllables = sum(syllables_in(word, language) for word in words)
    return round(base - sentence_weight * len(words) / sentences - syllable_weight * syllables / len(words), 1)


def lexicon(language: str) -> dict[str, float]:
    """Read the known words of a language and their weights."""
    with LEXICON.open(newline="", encoding="utf-8") as file:
        return {row["word"]: float(row["weight"]) for row in csv.DictReader(file) if row["language"] == language}


def is_number(value: Any) -> bool:
    """Tell numbers from everything else; JSON's true and false are no numbers."""
    return isinstance(value, int | float) and not isinstance(value, bool)


@task(retries=0)
def clean_texts(texts: list[str], extra_words: Any, neutral_band: Any) -> list[str]:
    """Reduce white space to single blanks; an empty text stays in its place.

    Raises:
        ValueError: one of the untyped params is not what `score` needs; Airflow itself takes anything there.
    """
    if not (isinstance(extra_words, dict) and all(map(is_number, extra_words.values()))):
        raise ValueError('The param `extra_words` must map words to numbers, such as {"superb": 3, "soggy": -1.5}.')
    if not is_number(neutral_band):
        raise ValueError("The param `neutral_band` must be a number, such as 0.05.")
    return [" ".join(text.split()) for text in texts]


@task(retries=0)
def score(text: str, extra_words: dict[str, float]) -> dict[str, Any]:
    """Score one text."""
    params = get_current_context()["params"]
    language = params["language"]
    words = re.findall(r"[^\W\d_]+(?:'[^\W\d_]+)*", text.casefold().replace("\u2019", "'"))
    weights = lexicon(language) | {word.casefold(): weight for word, weight in extra_words.items()}
    value, known = sentiment_of(words, language, weights)
    value = round(value, int(params["digits"]))
    is_neutral = abs(value) <= params["neutral_band"]
    return {
        "text": text,
        "words": len(words),
        "sentiment": "neutral" if is_neutral else "positive" if value > 0 else "negative",
        "score": value,
        "readability": readability_of(text, words, language) if words else None,
        "known_words": known,
    }


@dag(
    schedule=None,
    catchup=False,
    tags=["mcp", "text"],
    max_active_runs=128,
    dag_display_name="Score many texts",
    description=(
        "Rate the sentiment and readability of up to 50 texts. Returns one entry per text, in the same order. "
        '`extra_words` rates more words, such as {"superb": 3, "soggy": -1.5}; a score no further from 0 than '
        "`neutral_band` counts as neutral."
    ),
    doc_md=__doc__,
    params={
        "language": Param(
            "en",
            type="string",
            description="The language of all the texts.",
            enum=["en", "de"],
            values_display={"en": "English", "de": "German"},
        ),
        "digits": Param(3, type="integer", minimum=1, maximum=6, description="Decimals of each score."),
    },
)
def score_many(texts: list[str], extra_words: dict[str, float], neutral_band: float) -> Any:
    """Clean the list, then score its texts in parallel.

    The arguments are params too. Only a required one may be a `Param` here: a task that is handed an omitted argument
    gets its default as it stands, so a `Param` object where a value was meant (Airflow 3.1 to 3.3, `DagParam.resolve`).
    """
    cleaned = clean_texts(texts, extra_words, neutral_band)
    return score.partial(extra_words=extra_words).expand(text=cleaned)


score_many(
    texts=Param(
        type="array",
        title="Texts",
        description="The texts to score.",
        items={"type": "string", "maxLength": 5000},
        examples=[["The soup was cold and the waiter rude.", "What a superb day!"]],
        minItems=1,
        maxItems=50,
    ),
    extra_words={},
    neutral_band=0.05,
)
