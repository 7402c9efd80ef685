"""How a value becomes bytes and back. Knows no cache, no replica and no node."""
