"""The process: start and stop, the node that joins all rooms, and the turn of its event loop.

lifecycle.py runs a node from start to stop, runtime.py makes it, loop.py carries out what the core says. It may know
every room of the node, and none of them may know it.
"""
