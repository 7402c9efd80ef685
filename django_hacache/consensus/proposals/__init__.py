"""Changes on their way: from the node that took them, through the leader's order, back to whoever asked."""
