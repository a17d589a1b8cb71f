"""Dataclasses that every call creates: immutable for mypy, not at run time.

A frozen dataclass checks at run time, too, for every field: with sixty of them per call, that takes 2 % of a call.
Classes that are created once, or are dictionary keys, are frozen dataclasses.
"""

from dataclasses import dataclass
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True)
def value(cls: type[T]) -> type[T]:
    """Make a class such a dataclass."""
    return dataclass(slots=True)(cls)
