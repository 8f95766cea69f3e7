"""One module an endpoint: parse, run the pipeline, answer."""
