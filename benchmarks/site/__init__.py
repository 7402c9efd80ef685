"""The Django site of the workers and nodes. Its one cache is what the environment says."""
