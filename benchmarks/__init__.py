"""Measures django_hacache beside the caches that a site would use instead. Run it: `python -m benchmarks`.

The parent process starts servers, nodes and workers, tells the workers what to do, and writes the report
(places, network, delay; servers, cluster, services, crew, backends, stage; measurements/; targets, objections, tables,
page, charts, report). The workers are Django processes (worker, site/) that make the calls and time them (work/).
"""
