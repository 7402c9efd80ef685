"""The node process: what moves bytes, clocks and files for the consensus core.

transport/      the other hosts, and programs outside the cluster: streams, lanes, who may connect
requests/       what workers and programs ask for: checked, submitted, answered
evaluation/     what a change does, on the leader: a request becomes effects
storage/        what a node keeps: the log, the effects that are applied, a replica on its way
process/        the process itself: start and stop, the joined node, the turn of the event loop
housekeeping.py expired and surplus entries leave through the log
report.py       what a node tells people of the cluster
encoding/       messages as bytes, and back
log_throttle.py what goes wrong again and again is logged once for each reason

A write comes in over transport/ or the workers' socket, passes requests/, is ordered by the core, which has
evaluation/ say what it does; storage/ keeps and applies it. The loop in process/ carries that out, turn by turn.
"""
