"""NATS JetStream doing what durable delivery does: a stream in files that are synchronised before it acknowledges."""
