"""What the benchmarks are made of. The measurements themselves are tried by `make benchmark QUICK=1`."""
