"""What a cache can be asked to change, and what each change does: stated once, for one machine and for a cluster.

store.py        what a change sees of a cache, and what it can do to it
vocabulary.py   the changes. Each knows what it does to a store; a new operation is a new class there
outcome.py      what a change came to
codec.py        changes and outcomes as messages, and back; the only one that knows the wire
"""
