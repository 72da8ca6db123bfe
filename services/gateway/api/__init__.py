"""One file for each operation and dialect; what its requests and answers are made of is in gateway/messages."""
