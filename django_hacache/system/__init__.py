"""What the operating system gives, made safe and the same everywhere. Knows nothing of caches."""
