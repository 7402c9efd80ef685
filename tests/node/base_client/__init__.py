"""A program that knows the base protocol alone: its messages, and nothing that came after."""
