"""The follower's side: taking the log, the replica and the lease that the leader gives."""
