"""What a change does, decided on the leader: conditions become a yes or no, arithmetic a result, all of it effects.

Also which caches there are, and whether there is room for a change now. It must not know requests' way here, nor how
effects are stored.
"""
