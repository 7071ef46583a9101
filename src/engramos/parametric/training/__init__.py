"""Training that is thrifty with memory, and with what was learnt before: parts that writers put together."""
