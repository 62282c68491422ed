"""The domain: values in, values out. No orchestration, no tracking, no I/O of its own."""
