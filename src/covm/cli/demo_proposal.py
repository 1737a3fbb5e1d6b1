"""The proposal of the demonstration, unless another is given."""

from __future__ import annotations

from typing import Any

PROPOSAL: dict[str, Any] = {
    "id": "proposal-2025-014",
    "title": "Buy a delivery van together",
    "description": (
        "The bakery delivers in the morning, the farm in the afternoon: one electric van serves both. "
        "Each pays by the kilometres it drives."
    ),
    "author": "Mill Bakery",
    "options": ["buy it new", "buy it used", "go on renting"],
    "created_at": 1_748_736_000_000,
    "metadata": {"budget_cents": 3_200_000, "currency": "EUR", "term_months": 60},
}
