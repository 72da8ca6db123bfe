"""What several test modules share: servers on free ports, fakes, data."""
