"""The Unix socket between the workers of a host and its node. Must not know the replica, Django or gRPC.

This module imports nothing: a worker that never writes needs neither a client nor protobuf.
"""
