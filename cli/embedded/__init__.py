"""NATS, Postgres and mllm's own roles as child processes of one command."""
