"""The same tables on a Spark cluster, through Spark Connect."""
