"""What a user of Redis would object to in each measurement, and which row or measurement answers it."""

from __future__ import annotations

OBJECTIONS = {
    "get": """\
django-redis over TCP is not the fastest that Redis can be asked. “RedisCache with hiredis, one client kept, Unix
socket” leaves out what can be left out, and “Redis with client-side caching” asks only once: it keeps what it has
read in the process, as LocMemCache does, and the server tells it what has changed.""",
    "get_many": """\
`MGET` is one question already, so a faster client gains little: see “RedisCache with hiredis, one client kept, Unix
socket”, and “Redis with client-side caching”, which asks for nothing that it has.""",
    "aget": """\
Django's Redis backends hand `aget` to a thread. “redis.asyncio” is the client for coroutines, as a site uses it
that goes past them.""",
    "set": """\
A write of a cluster is on two hosts when it returns, one of Redis on none but the server's: “Redis + WAIT 1” waits
for a replica, too. And “standalone” serves one machine, where Redis would be asked over a Unix socket: see
“RedisCache with hiredis, one client kept, Unix socket”.""",
    "add": """\
A write of a cluster is on two hosts when it returns, one of Redis on none but the server's: the rows of three nodes
promise more than those of Redis. “RedisCache with hiredis, one client kept, Unix socket” is the fastest of them.""",
    "incr": """\
Redis counts in one step, and Django's backends ask it twice or run a script. “RedisCache with hiredis, one client
kept, Unix socket” is still two questions, without the rest.""",
    "delete": """\
A write of a cluster is on two hosts when it returns, one of Redis on none but the server's: the rows of three nodes
promise more than those of Redis. “RedisCache with hiredis, one client kept, Unix socket” is the fastest of them.""",
    "set_many": """\
A pipeline takes all entries in one packet: all rows of Redis are pipelines here.""",
    "growth": """\
The time of a call to a server is mostly the way to it, so Redis would show no difference: it is left out here, and
LocMemCache, which has no way to go, is in.""",
    "mixed_1": """\
Few keys are asked for often, which is what client-side caching is made for: see “Redis with client-side caching”,
and “RedisCache with hiredis, one client kept, Unix socket”.""",
    "mixed_4": """\
As with one process: see “Redis with client-side caching” and “RedisCache with hiredis, one client kept, Unix
socket”.""",
    "mixed_16": """\
Sixteen processes on two cores measure CPU time and not waiting; with cores to spare Redis uses one of them and ours
all. See “Redis with client-side caching”, “RedisCache with hiredis, one client kept, Unix socket”, and the
measurement with three hosts.""",
    "writes_4": """\
Every process has a connection of its own, so a pool has no more to give; a Unix socket has: see “RedisCache with
hiredis, one client kept, Unix socket”.""",
    "writes_16": """\
As with four processes: see “RedisCache with hiredis, one client kept, Unix socket”. And who waits for a lock that
others hold shows in p99 only.""",
    "quorum_writes_4": """\
`WAIT` is the price of a promise that few sites ask Redis for: “django-redis” does not ask.""",
    "quorum_writes_16": """\
As with four processes; and the nodes take CPU time that Redis, one process in C, leaves to the workers. Hosts with
a core of their own for it would show less of that; the measurement with three hosts has the network of such, but
not the cores.""",
    "levels": """\
Each level has beside it what Redis has for it: `CLIENT REPLY OFF`, which no backend of Django offers, a plain
`SET`, `WAIT 1` and `WAIT 2`. `WAIT` says nothing of what a reader sees meanwhile, so the promises are not the same,
in either direction.""",
    "levels_16": """\
Who does not wait only puts off the work: so the clock stops only when what was handed over is done, for direct as
for “Redis told to answer nothing”. Their p50 is the hand-over.""",
    "write_cost": """\
Redis does the same in C: its primary, its replicas and its workers are in the table.""",
    "pages": """\
A page that only reads is the best case of any cache on the own host. “RedisCache with hiredis, one client kept,
Unix socket” and “Redis with client-side caching” are what Redis has for it; pages that write come next.""",
    "pages_half": """\
A session in Redis is mostly not acknowledged by a replica, so “django-redis, two replicas, primary's host” is what
sites have, and “Redis + WAIT 1, two replicas, primary's host” what promises the same. One process shows how long a
page takes; the next measurement shows how many a machine makes.""",
    "pages_half_16": """\
Sixteen processes share two cores with Redis or with three nodes, of which a host of a site has one.""",
    "pages_all": """\
Few sites write on every request (`SESSION_SAVE_EVERY_REQUEST`): this is the worst case of a cluster, not the usual
one, and no Redis user would object. It is here so that nobody has to guess.""",
    "pages_ten": """\
Ten writes in a row are better one `set_many`, which is one packet to Redis and one request to a node: see there. A
page whose writes are made in ten different places cannot do that; our middleware can, and Django's backends for
Redis have none.""",
    "api_counted": """\
Redis counts in one step where the site has a script of its own; through Django's cache it is `add` and `incr`.
“RedisCache with hiredis, one client kept, Unix socket” has the least of it.""",
    "api_listed": """\
Django REST framework's throttle is a read and a write with whatever cache; “RedisCache with hiredis, one client
kept, Unix socket” makes the least of them.""",
    "pauses": """\
Calls back to back keep everybody awake, which flatters whoever hands over most. Here the worker sleeps between two
calls, as in a site with few visitors, and the server or node has gone to sleep as well.""",
    "memory": """\
One Redis serves all hosts, and a node keeps all on each host: for three hosts count three of ours and one of Redis,
or three of Redis with two replicas.""",
    "start_up": """\
Many sites import redis-py anyhow, for Celery or Channels; then most of this is not its cache's.""",
    "idle": "An idle Redis takes something, too: it and its replicas are in the table.",
    "hosts": """\
A site may read at its own host's replica, which is as near as our copy and may be behind, or keep what it has read:
see “django-redis, own host's replica, another host” and “Redis with client-side caching, another host”. The three
hosts share the cores of one machine, so what is counted a second is CPU time as much as it is the network; and
where a process makes the delay, it takes its CPU time from whoever sends most packets, which is Redis. One call at
a time is nearly free of both.""",
}
