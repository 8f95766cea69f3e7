"""Wire formats: what each protocol's requests, answers and streams look like. Pure: no Django, no network."""
