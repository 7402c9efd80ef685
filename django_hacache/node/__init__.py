"""The node process: the asyncio shell around the consensus core.

runtime.py joins the parts; loop.py has the turn of the event loop, transport.py the ways to the peers and of clients;
intake.py takes requests, evaluator.py says what they do, durable.py and effects.py carry it
out, peers.py and service.py move bytes between nodes.
"""
