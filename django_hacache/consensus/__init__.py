"""The consensus core: a pure state machine. Start with core.py; messages.py names what nodes say.

Nothing here knows a clock, a socket, a thread, Django, or another room of this package.
"""
