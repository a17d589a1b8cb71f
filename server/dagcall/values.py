"""Values that every call makes: dataclasses that nobody changes once they are made, as mypy sees to.

A frozen dataclass sees to it as well, at every field that it is given: with sixty of them that is a fiftieth of what a
call takes. What is made once, or is a key of a dictionary, is a frozen dataclass.
"""

from dataclasses import dataclass
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True)
def value(cls: type[T]) -> type[T]:
    """Make a class a value."""
    return dataclass(slots=True)(cls)
