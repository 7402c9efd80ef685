"""One host's copy of every cache: an LMDB environment and a control page, shared by node and workers.

Must not know Django, the node, gRPC or the socket between worker and node.
"""
