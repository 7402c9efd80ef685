"""The worker's side: what each operation does, who carries it out, and what a process keeps open.

Knows Django, the replica and the socket to the node; never grpc, the node or the consensus core.
"""
