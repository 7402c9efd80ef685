"""The operating system, made safe and the same everywhere. Must not know caches."""
