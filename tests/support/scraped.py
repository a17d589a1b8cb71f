"""The metrics of a server, as Prometheus reads them."""

from collections import Counter
from collections.abc import Mapping

from prometheus_client.parser import text_string_to_metric_families

from dagcall.app import Dagcall

Samples = Mapping[tuple[str, frozenset[tuple[str, str]]], float]


def samples_of(text: str) -> Samples:
    """Return the samples of an exposition: (name, labels) -> value."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def scraped(dagcall: Dagcall) -> Samples:
    """Return the current metrics of a server."""
    content, _ = dagcall.metrics.text("text/plain")
    return samples_of(content.decode())


def value(samples: Samples, name: str, **labels: str) -> float:
    """Return one value; 0 if it is missing."""
    return samples.get((name, frozenset(labels.items())), 0.0)


def total(samples: Samples, name: str, **labels: str) -> float:
    """Return the sum of all values that have these labels, and perhaps others."""
    return sum(
        value for (found, has), value in samples.items() if found == name and labels.items() <= dict(has).items()
    )


def by_label(samples: Samples, name: str, *labels: str) -> Counter[tuple[str, ...]]:
    """Return the values of a metric by some of its labels."""
    counts = Counter[tuple[str, ...]]()
    for (found, has), count in samples.items():
        if found == name and count:
            counts[tuple(dict(has)[label] for label in labels)] += int(count)
    return counts
