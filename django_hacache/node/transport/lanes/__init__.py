"""Lanes, the quick connections between nodes: outbound.py is the opener's end, server.py the other one.

Streams and the meaning of any message it must not know.
"""
