"""gRPC streams: outbound.py is the end that this node opens, server.py and inbound.py those that others open here.

The rest is what bounds them: what waits to be written, what came half, what nobody reads. Lanes and the meaning of any
message it must not know.
"""
