"""What a cache can be asked to change, and what each change does: stated once, for one machine and for a cluster.

vocabulary.py   the changes: each is a class that says what it does to a store. A new operation begins there
store.py        what a change can ask of a store, and do to it
outcome.py      whether a change took effect, and what it returned
codec.py        changes and outcomes as messages, and back; only this module knows the wire
"""
