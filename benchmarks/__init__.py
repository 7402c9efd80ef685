"""Measures django_hacache beside the caches that a site would use instead. Run it: `python -m benchmarks`.

The parent process starts servers, nodes and workers, tells the workers what to do, and writes the report
(servers, cluster, services, crew, backends, stage; measurements/; targets, report, charts). The workers are Django
processes (worker, site/) that make the calls and time them (work/).
"""
