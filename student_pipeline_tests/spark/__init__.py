"""Tests of the Spark engine: against Sail in the suite, against OSS Spark by `make spark-test`."""
