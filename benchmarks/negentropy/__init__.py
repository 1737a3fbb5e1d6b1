"""Negentropy, a protocol that finds by ranges of time what two sets do not share, doing what the descent does."""
