from __future__ import annotations

TOKEN = "kX3v9Qm2Lr8Tz5Wb7Nc4Hf6Jd1Gs0Pa-yU"
HOSTS = "http://127.0.0.1:8001, http://127.0.0.1:8002, http://127.0.0.1:8003"
# A cluster that is right, on one machine.
CLUSTER: dict[str, object] = {
    "HA_MODE": True,
    "HA_HOSTS": HOSTS,
    "HOSTNAME_OVERWRITE": "127.0.0.1:8001",
    "CACHE_AUTH_TOKEN": TOKEN,
    "CACHE_TLS": False,
}
