"""Whole clusters in memory, with a virtual clock and a bad network, everything drawn from one seed."""
