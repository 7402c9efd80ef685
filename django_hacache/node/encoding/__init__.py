"""Messages as bytes, and back: the vocabulary of the core on one side, that of the wire on the other.

It must not know who sends them, how they travel, or where they are stored.
"""
