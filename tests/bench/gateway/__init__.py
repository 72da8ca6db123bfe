"""`make bench`: what the gateway costs, beside what it could cost at best on the same machine in the same minute."""
