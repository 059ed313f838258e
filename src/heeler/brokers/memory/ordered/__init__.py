"""Memory as the store of a broker that has none: the executable specification of an ordered store."""
