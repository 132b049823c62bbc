"""Models as described objects: the cards that ship with the package, and where weights are found."""

from __future__ import annotations

from unblur.models.card import ModelCard, Result, card, cards
from unblur.models.card import parse as parse_card
from unblur.models.weights import METADATA_KEY, find_weights, read_card, read_weights, write_weights

__all__ = [
    "METADATA_KEY",
    "ModelCard",
    "Result",
    "card",
    "cards",
    "find_weights",
    "parse_card",
    "read_card",
    "read_weights",
    "write_weights",
]
