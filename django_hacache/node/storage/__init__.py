"""What a node keeps, in LMDB: the log and the hard state, effects applied, a replica that is on its way.

It must not know how a change was decided, who leads, or the network.
"""
