"""The node process: the asyncio shell around the consensus core.

runtime.py joins the parts; intake.py takes requests, evaluator.py says what they do, durable.py and effects.py carry it
out, peers.py and service.py move bytes between nodes.
"""
