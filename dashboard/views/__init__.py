"""Pages: a view reads, calls and answers; rules live below."""
