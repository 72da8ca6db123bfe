"""MLPerf LoadGen on the running chain."""
