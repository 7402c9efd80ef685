"""The leader's side: bringing the log to the others, knowing who counts, granting leases, giving way."""
