"""Flows that workers run for a run elsewhere: a job, or a shard. No person starts them."""
