"""Users' features at request time: memory-mapped in the process, or in Redis. Never imports torch."""
