"""Worker and node of one host talk here, over a Unix socket. Knows no replica, no Django and no gRPC.

It imports nothing by itself: a worker that never writes needs neither a client nor protobuf.
"""
