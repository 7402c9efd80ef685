"""The ways between this node and the others, and of programs outside: bytes in and out, and who is at the other end.

transport.py is the door: what is told and asked of the network goes through it. routes.py chooses the way to a peer.
It knows the messages' envelopes; what anything in them means, the core, the replica and the caches it must not know.
"""
