"""Chat completion clients, served by Messages upstreams."""
