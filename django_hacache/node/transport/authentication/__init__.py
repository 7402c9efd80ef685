"""Who may connect: tokens, certificates, lists of hosts, and the words for whoever is refused.

It must not know what is said over a connection, nor that there are streams and lanes.
"""
